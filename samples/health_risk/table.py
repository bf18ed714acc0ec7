"""Measure the table of this sample: `python -m samples.health_risk.table` (see samples/sheet.py for its options).

A run is a fold and a seed: run 0 is fold 0 with seed 0, run 1 is fold 1 with seed 0, run 2 is fold 0 with seed 1.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from samples.health_ecg import gains
from samples.health_ecg.figures import ACCURACY, COST, ECE, SENSITIVITY, SPECIFICITY, WRITTEN, Judge
from samples.measure import Measurer, make
from samples.sheet import ROOT, WORK, Sheet, scatter

HERE = ROOT / "samples" / "health_risk"
METRIC = ROOT / "samples" / "health_ecg" / "metric.py"
MODEL, RECIPE = HERE / "risk.onnx", HERE / "recipe.toml"
OUT = WORK / "health_risk"
RUNS = tuple(range(6))
NOTE = """
569 rows in two halves; either trains and the other tests (106 malignant tumours each), three seeds each: the means
are those of all 212 malignant tumours, each tested by a model that did not see it. Runs 0 to 5 are fold 0 and 1 by
turns. ECE: expected calibration error, 15 bins. MB: the most that a Python process with ONNX Runtime needs to answer
one row (Linux, resident). Latency: ONNX Runtime, one thread, batch 1; and how much faster than float in batches of
4,096 rows. Files: the part of the runs in which the gate (1 point of sensitivity, which is one tumour of 106, and 1
point of calibration error) let a file be written; the row's figures are of those.

    python -m samples.health_risk.table
"""


def train_data(run: int) -> tuple[str | Path, ...]:
    return ("--data", HERE / f"fold{run % 2}.npz", "--map", "features=x_train")


@cache
def trained(width: int, run: int) -> Path:
    """The network trained on the fold and the seed of a run; the committed one where that is it."""
    path = OUT / f"width{width}_run{run}.onnx"
    if (width, run) == (128, 0):
        return MODEL
    words = ["--width", str(width), "--fold", str(run % 2), "--seed", str(run // 2), "-o", str(path)]
    subprocess.run([sys.executable, str(HERE / "train.py"), *words], check=True, capture_output=True)
    return path


def judge(run: int) -> Judge:
    """Everything beside the run's own float model."""
    test = ("--data", HERE / f"fold{run % 2}.npz", "--map", "features=x_test")
    names = {"sensitivity": "sensitivity", "specificity": "specificity", "ece": "calibration_error"}
    return Judge(Measurer(trained(128, run), test), {key: f"{METRIC}:{name}" for key, name in names.items()}, {})


def gated(run: int, command: str, *words: str | Path) -> dict[str, Any]:
    """A command behind the gate."""
    look = judge(run)
    gate = ("--eval-data", HERE / f"fold{run % 2}.npz", "--eval-map", "features=x_test", "--max-drop", "1pt")
    metric = ("--metric", f"{METRIC}:held", "--seed", str(run // 2))
    output = OUT / f"{command}_{run}.onnx"
    return look.gated(output, command, *words, look.measurer.original, *train_data(run), *gate, *metric)


def plain(run: int) -> dict[str, Any]:
    """Neurons of least L1 norm go, nothing is refitted, ranges are minimum and maximum."""
    look = judge(run)
    cut = make(OUT / "l1.onnx", "prune", look.measurer.original, "--score", "l1", "--target-macs", "0.25x")
    words = (cut, *train_data(run), "--calibrator", "uniform", "--effort", "fast")
    return look.figures(make(OUT / "plain.onnx", "quantize", *words))


def main() -> None:
    columns = (SENSITIVITY, SPECIFICITY, ACCURACY, ECE, *COST, WRITTEN)
    inputs = (MODEL, RECIPE, METRIC, HERE / "train.py", HERE / "fold0.npz", HERE / "fold1.npz")
    sheet = Sheet("health_risk", "Tumour table: held to sensitivity and calibration", columns, NOTE, inputs)
    sheet.row("float", lambda run: judge(run).figures(trained(128, run)), seeds=RUNS, quick=True)
    sheet.row("half-width twin from scratch", lambda run: judge(run).figures(trained(64, run)), seeds=RUNS)
    sheet.row("int8", lambda run: gated(run, "quantize"), seeds=RUNS, quick=True)
    sheet.row("recipe, a quarter of the multiply-adds", lambda run: gated(run, "run", RECIPE), seeds=RUNS, quick=True)
    sheet.row("plain L1 + min-max, no repair", plain, seeds=RUNS, quick=True)
    sheet.write(plot=scatter("kB", "sensitivity", "kB", "sensitivity %", log_x=True))
    if not sheet.quick:
        gains.write()


if __name__ == "__main__":
    main()
