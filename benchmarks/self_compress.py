"""Self-compression beside one cut: the same target, the same processor time.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/self_compress.py [--ratios 0.4 0.3] [--seed 0]
        [--work out/self_compress] [NAME ...]

"self-compress" is `distill MODEL --self-compress --target-macs Rx --stage-steps 30 --max-gap 0.2` without a budget, so
that a busy machine changes nothing. "one cut" is `prune MODEL --target-macs Rx` with its reconstruction, then `distill`
for as many steps as the rest of the same processor time holds, by the time of two short runs. Both take the catalogue's
unlabelled training samples and one thread. Accuracy is that of the whole test set, differences to float are paired, in
points, with their 95 % interval. NAME is as in cases.py.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cases import case
from scores import score

_QUIET = ("--threads", "1", "--quiet", "--force", "--json")
_SHORT, _LONGER = 20, 60


class Bench:
    """Runs on one model.

    Args:
        name: The model.
        work: Folder for what is made.
        seed: Of every run.
    """

    def __init__(self, name: str, work: Path, seed: int) -> None:
        self.case, self.work = case(name), work
        self._data, self._seed = work / f"{name}.npz", str(seed)
        np.savez(self._data, **self.case.calibration)

    def rows(self, ratio: str) -> list[str]:
        """Both ways to one target."""
        slim, cut, done = (self.work / f"{self.case.name}.{ratio}.{kind}.onnx" for kind in ("self", "cut", "distilled"))
        target = ("--target-macs", f"{ratio}x")
        options = ("--self-compress", *target, "--stage-steps", "30", "--max-gap", "0.2")
        report, seconds = self._run("distill", self.case.path, *options, out=slim)
        first = self._row(ratio, "self-compress", slim, seconds, _steps(report))
        _, pruning = self._run("prune", self.case.path, *target, out=cut)
        start = self._row(ratio, "one cut, not trained", cut, pruning, 0)
        short, longer = (self._distilled(cut, done, steps)[1] for steps in (_SHORT, _LONGER))
        a_step = (longer - short) / (_LONGER - _SHORT)
        steps = round((seconds - pruning - short) / a_step) + _SHORT
        _, training = self._distilled(cut, done, steps)
        return [first, start, self._row(ratio, "one cut", done, pruning + training, steps)]

    def _distilled(self, cut: Path, out: Path, steps: int) -> tuple[dict[str, Any], float]:
        return self._run("distill", cut, "--teacher", str(self.case.path), "--steps", str(steps), out=out)

    def _run(self, command: str, model: Path, *options: str, out: Path) -> tuple[dict[str, Any], float]:
        """Report and processor seconds of one command."""
        words = ("-m", "onnxcompress", command, str(model), *options, "--data", str(self._data), "--seed", self._seed)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = subprocess.run(
            [sys.executable, *words, *_QUIET, "--allow-unchanged", "-o", str(out)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return json.loads(told.stdout), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def _row(self, ratio: str, way: str, path: Path, seconds: float, steps: int) -> str:
        found = score(path, self.case)
        low, high = (100 * v for v in found.interval or (float("nan"),) * 2)
        change = f"{100 * (found.difference or 0):+.2f} [{low:+.2f}, {high:+.2f}]"
        told = f"| {self.case.name} | {ratio} | {way} | {100 * found.value:.2f} | {change} | {steps} | {seconds:.0f} |"
        print(told, flush=True)
        return told


def _steps(report: dict[str, Any]) -> int:
    found = [f for p in report["passes"] for f in p["findings"] if f["code"].startswith("SELF-COMPRESS-")]
    return int(found[-1]["numbers"]["steps"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["fmnist_resnet8"])
    parser.add_argument("--ratios", nargs="+", default=["0.4", "0.3"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("out/self_compress"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    print("| model | target | way | accuracy | against float | steps | processor s |\n|---|---|---|---|---|---|---|")
    for name in given.names:
        bench = Bench(name, given.work, given.seed)
        for ratio in given.ratios:
            bench.rows(ratio)


if __name__ == "__main__":
    main()
