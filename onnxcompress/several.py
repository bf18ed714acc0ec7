"""Several targets from one calibration: one result each, from the same samples and the same statistics.

results = onnxcompress.quantize("model.onnx", data="calib.npz", target=["tensorrt", "openvino"])
results.save("folder", stem="model")  # folder/model.tensorrt.onnx, folder/model.openvino.onnx
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxcompress.errors import CompressError, ResourceError, UsageError
from onnxcompress.recipe import Recipe
from onnxcompress.report.files import check_writable
from onnxcompress.result import Result
from onnxcompress.targets import load_target


class Results(Mapping[str, Result]):
    """Results by the name of their target, in the order asked for."""

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = dict(results)

    def __getitem__(self, name: str) -> Result:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __str__(self) -> str:
        return "\n\n".join(f"{name}\n{result}" for name, result in self._results.items())

    def save(
        self, folder: str | os.PathLike[str], *, stem: str = "model", force: bool = False, stamp: bool = True
    ) -> list[Path]:
        """Write one file a target into `folder`, which is made where it is missing; all of them can be, or none is.

        Args:
            folder: Where to.
            stem: Beginning of every name: ``stem.TARGET.onnx``.
            force: Replace existing files.
            stamp: As for `Result.save`.

        Raises:
            UsageError: Where one exists and `force` is not set, or `folder` is a file.
            ResourceError: Where the folder cannot be made or written, or is full.
        """
        paths = file_paths(folder, stem, list(self))
        make_folder(Path(folder))
        for path in paths:
            check_writable(path, force=force)
        written: list[Path] = []
        for path, result in zip(paths, self._results.values(), strict=True):
            try:
                written.append(result.save(path, force=force, stamp=stamp))
            except CompressError as error:
                error.add_note(f"written before that: {', '.join(map(str, written)) or 'none'}")
                raise
        return written


def run_recipe_for(targets: Sequence[str], recipe: Recipe, model: Any, *, data: Any = None, **common: Any) -> Results:
    """Run a recipe once for each target; what they need to know of the samples is counted in one pass over them.

    Args:
        targets: Names of targets.
        recipe: Passes and settings; its own target does not count.
        model: A path, an onnx.ModelProto or an onnx_ir.Model.
        data: `DataOptions`, or anything that `onnxcompress.data.open_data` takes.
        common: As for `onnxcompress.api.run_recipe`.

    Raises:
        CompressError: Where one target fails, a gate included; then there is no result for any.
    """
    from onnxcompress.api import DataOptions
    from onnxcompress.calibrators.store import Statistics
    from onnxcompress.data import canonical, open_data
    from onnxcompress.model_io import load

    names, loaded = check_names(targets), load(model)
    shared = Statistics.kept_in(common.pop("cache", None), common.get("executor"))
    if isinstance(data, DataOptions):
        data, evaluation = data.open(loaded, seed=common.get("seed") or recipe.settings.get("seed", 0))
        common["eval_data"] = common.get("eval_data") or evaluation
    samples = None if data is None else canonical(open_data(data, loaded))
    results: dict[str, Result] = {}
    for name in names:
        also = [load_target(other) for other in names if other != name]
        settings = {**common, "target": name, "also": also, "statistics": shared}
        results[name] = _one(name, names, recipe, loaded, samples, settings)
    return Results(results)


def _one(name: str, names: list[str], recipe: Recipe, model: Any, data: Any, settings: dict[str, Any]) -> Result:
    from onnxcompress.api import run_recipe

    try:
        return run_recipe(recipe, model, data=data, **settings)
    except CompressError as error:
        error.add_note(f"that was for the target {name}; nothing was written for any of {', '.join(names)}")
        raise


def check_names(names: Sequence[str]) -> list[str]:
    """The targets' names, each known and no profile named twice.

    Raises:
        UsageError: Naming the one that is not.
    """
    if not names:
        raise UsageError("no target was given", hint="Name one or more, see `onnxcompress targets`.")
    seen: dict[str, str] = {}
    for name in names:
        profile = load_target(name).profile or name
        if profile in seen:
            same = "" if seen[profile] == name else f"{seen[profile]} and {name} are both {profile} on this processor"
            hint = "Name each target once."
            raise UsageError(f"the target {name} is given twice", why=same, hint=hint, code="USAGE-TARGET-TWICE")
        seen[profile] = name
    return list(names)


def file_paths(folder: str | os.PathLike[str], stem: str, names: Sequence[str]) -> list[Path]:
    """One file a target.

    Raises:
        UsageError: Where `folder` is a file, or is named like one.
    """
    place = Path(folder)
    if place.is_file() or (place.suffix == ".onnx" and not place.is_dir()):
        why = "it is a file" if place.is_file() else "its name is that of a model"
        hint = f"Name a folder; it will hold {stem}.{names[0]}.onnx and so on."
        raise UsageError(f"cannot write several files to {folder}", why=why, hint=hint, code="USAGE-OUTPUT-NO-FOLDER")
    return [place / f"{stem}.{name}.onnx" for name in names]


def make_folder(folder: Path) -> None:
    """Make `folder`, whose parent must be there.

    Raises:
        ResourceError: Where it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as cause:
        why = cause.strerror or type(cause).__name__
        raise ResourceError(f"cannot make the folder {folder}", why=why, hint="Check the path.") from cause
