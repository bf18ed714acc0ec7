"""A program of one's own: passes as objects, one of them ours, progress as we want it, the result as model and recipe.

python program.py        (into out/, or the folder that OUT names)
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from power_of_two import PowerOfTwo

import onnxcompress as oc
from onnxcompress.recipe import dump_recipe

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "breast_cancer.npz"


@dataclass
class Steps:
    """A progress callback: called with the step's name and how far it is; a bar or a log line goes here."""

    seen: dict[str, float] = field(default_factory=dict)

    def __call__(self, step: str, done: int, total: int) -> None:
        """Tell a step once, when it begins."""
        if step not in self.seen:
            print(f"{step} ...")
        self.seen[step] = done / max(total, 1)


def manager() -> oc.PassManager:
    """The recipe: two fifths of the multiply-adds go, the rest is refitted, then weights become powers of two."""
    passes = [oc.Normalize(), oc.PruneChannels(target_macs="0.6x"), oc.Reconstruct(), PowerOfTwo(steps=2)]
    return oc.PassManager(passes, max_drop="3pt")


def compress(progress: Steps) -> oc.Result:
    """The result: a model and a report.

    Raises:
        onnxcompress.CompressError: Where a pass or the gate refuses; it says what, where, why and what to do.
    """
    model = oc.load(HERE.parent / "models" / "mlp.onnx")
    calibration = oc.open_data(DATA, model, mapping={"features": "x_train"})
    test = oc.open_data(DATA, model, mapping={"features": "x_test"})
    return manager().run(model, data=calibration, eval_data=test, progress=progress)


def main() -> None:
    folder = Path(os.environ.get("OUT", HERE.parent.parent / "out"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = compress(Steps())
    except oc.CompressError as refused:
        sys.exit(str(refused))
    result.save(folder / "mlp.program.onnx", force=True)
    print(result.report)
    print(dump_recipe(manager().recipe()))


if __name__ == "__main__":
    main()
