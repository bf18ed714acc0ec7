"""Measure the table of this sample: `python -m samples.health_ecg.table` (see samples/sheet.py for its options)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from samples.health_ecg import gains
from samples.health_ecg.figures import ACCURACY, COST, ECE, SENSITIVITY, SPECIFICITY, WRITTEN, Judge
from samples.measure import Measurer, make
from samples.sheet import ROOT, WORK, Column, Sheet, scatter

HERE = ROOT / "samples" / "health_ecg"
DATA = ROOT / "samples" / "data" / "ecg.npz"
MODEL, RECIPE, METRIC = (HERE / name for name in ("ecg.onnx", "recipe.toml", "metric.py"))
OUT = WORK / "health_ecg"
TRAIN = ("--data", DATA, "--map", "beat=x_train", "--scale", "1/16")
NEW = ("--data", DATA, "--map", "beat=x_test", "--scale", "1/16")
SAME = ("--data", DATA, "--map", "beat=x_same", "--scale", "1/16")
GATE = ("--eval-data", DATA, "--eval-map", "beat=x_test", "--metric", f"{METRIC}:held", "--max-drop", "0.5pt")
SEEDS = (0, 1, 2)
KNOWN = Column("known", "sensitivity %, known patients", ".2f", tolerance=2.0)
NOTE = """
1,817 beats of four patients that nothing was trained on, 206 of them of class 1 (atrial premature beats, AAMI's group
S): what is lost there is what the gate counts. The column *known patients* has 152 other beats of class 1 of the
patients of the training data. ECE: expected calibration error, 15 bins. MB: the most that a Python process with ONNX
Runtime needs to answer one beat (Linux, resident). Latency: ONNX Runtime, one thread, batch 1; and how much faster
than float in batches that take float 10 ms. Files: the part of the runs in which the gate (0.5 points of sensitivity,
0.5 points of calibration error) let a file be written; the row's figures are of those.

    python -m samples.health_ecg.table
"""


def judge() -> Judge:
    """Everything beside the committed float model."""
    names = {"sensitivity": "sensitivity", "specificity": "specificity", "ece": "calibration_error"}
    metrics = {key: f"{METRIC}:{name}" for key, name in names.items()}
    return Judge(Measurer(MODEL, NEW), metrics, {"known": (SAME, metrics["sensitivity"])})


def trained(width: int, seed: int) -> Path:
    """The network trained anew."""
    path = OUT / f"width{width}_seed{seed}.onnx"
    words = ["--width", str(width), "--seed", str(seed), "-o", str(path)]
    subprocess.run([sys.executable, str(HERE / "train.py"), *words], check=True, capture_output=True)
    return path


def recipe(look: Judge, macs: str, seed: int) -> dict[str, Any]:
    """Prune, refit, distill and quantize behind the gate."""
    words = (RECIPE, MODEL, *TRAIN, *GATE, "--seed", str(seed), "--set", f"prune-channels.target_macs={macs}")
    return look.gated(OUT / f"recipe_{macs}_{seed}.onnx", "run", *words)


def plain() -> Path:
    """Filters of least L1 norm go, nothing is refitted, ranges are minimum and maximum."""
    cut = make(OUT / "l1.onnx", "prune", MODEL, "--score", "l1", "--target-macs", "0.5x")
    words = (cut, *TRAIN, "--calibrator", "uniform", "--effort", "fast")
    return make(OUT / "plain.onnx", "quantize", *words)


def main() -> None:
    columns = (SENSITIVITY, SPECIFICITY, ACCURACY, ECE, KNOWN, *COST, WRITTEN)
    inputs = (MODEL, DATA, RECIPE, METRIC, HERE / "train.py")
    sheet = Sheet("health_ecg", "Heart beats: held to sensitivity and calibration", columns, NOTE, inputs)
    look = judge()
    sheet.row("float", lambda seed: look.figures(MODEL), quick=True)
    sheet.row("float, trained anew", lambda seed: look.figures(trained(32, seed)), seeds=(0, 2, 3))
    sheet.row("half-width twin from scratch", lambda seed: look.figures(trained(16, seed)), seeds=SEEDS)
    int8 = (MODEL, *TRAIN, *GATE)
    sheet.row("int8", lambda seed: look.gated(OUT / "int8.onnx", "quantize", *int8), quick=True)
    for macs, name in (("0.5x", "half"), ("0.25x", "a quarter")):
        sheet.row(f"recipe, {name} of the multiply-adds", lambda seed, m=macs: recipe(look, m, seed), seeds=SEEDS)
    sheet.row("plain L1 + min-max, no repair", lambda seed: look.figures(plain()), quick=True)
    sheet.write(plot=scatter("kB", "sensitivity", "kB", "sensitivity %, new patients", log_x=True))
    if not sheet.quick:
        gains.write()


if __name__ == "__main__":
    main()
