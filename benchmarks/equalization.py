"""What equalization brings: int8 files with and without it, for weights with one scale a channel and one for all.

    ONNXCOMPRESS_TEST_DATA=FOLDER [ONNXCOMPRESS_BENCH=FOLDER] python benchmarks/equalization.py [--out PAGE] [NAME ...]

Each model is calibrated (`--effort fast`: no islands, no repair, so that the step is seen alone) on at most 256
samples, as it is and after `equalize`: by each method, by both (auto), and through ReLU6 too where the samples stay
below its cap (caps). SQNR is that of all float outputs on held-out samples, the score that of the model's own measure
on at most `--test` of them, with the 95 % interval of the paired difference between caps and none.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cases import Case, case
from measures import SQNR
from scores import compared, cut, rows, sqnr

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.data import ArraySource, canonical
from onnxcompress.environment import environment
from onnxcompress.graph import clone
from onnxcompress.passes.quantization.equalization import equalize
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context

MODELS = (
    "bccd_dwcnn",
    "breast_cancer_mlp",
    "ecg_resnet1d_ds1",
    "fmnist_resnet8",
    "fmnist_vgg_bn",
    "fmnist_vit",
    "mobilenet_v1_0.25_128",
    "ppocrv5_cls",
    "vww_mobilenetv1_025_96",
)
METHODS = ("cross-layer", "smooth", "auto", "caps")
OPTIONS = RuntimeOptions(threads=1)


@dataclass(frozen=True)
class Figures:
    """One file: its SQNR, its score's rows, and the seconds that equalization took."""

    decibels: float
    rows: np.ndarray
    seconds: float
    parts: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=MODELS)
    parser.add_argument("--out", type=Path, help="page to write")
    parser.add_argument("--test", type=int, default=1000, help="about so many test samples")
    parser.add_argument("--target", default="ort-x86-vnni")
    given = parser.parse_args()
    lines = [
        line for name in given.names for line in _lines(cut(case(name, calibration=256), given.test), given.target)
    ]
    if given.out:
        given.out.write_text(_page(lines, given.target), encoding="utf-8")


def _lines(of: Case, target: str) -> Iterator[str]:
    plain = replace(of, measure=SQNR)
    with tempfile.TemporaryDirectory() as folder:
        wanted, floats = rows(of.path, of), rows(of.path, plain)
        for per_channel in (True, False):
            found = {
                method: _figures(of, plain, floats, method, per_channel, target, Path(folder))
                for method in ("", *METHODS)
            }
            line = _line(of, wanted, found, per_channel)
            print(line, flush=True)
            yield line


def _figures(
    of: Case, plain: Case, floats: np.ndarray, method: str, per_channel: bool, target: str, folder: Path
) -> Figures:
    data = canonical(ArraySource(of.calibration))
    model = model_io.load(str(of.path))
    ctx = context(model, data=data, target=target, runtime=OPTIONS)
    for step in (oc.Normalize(), oc.FoldBatchNorm()):
        list(step.run(model, ctx))
    start, done = time.perf_counter(), 0
    if method:
        kind = "auto" if method == "caps" else method
        findings = equalize(model, data, ctx, method=kind, per_channel=per_channel, caps=method == "caps")
        done = sum(f.code == "EQUALIZE-DONE" for f in findings)
    seconds = time.perf_counter() - start
    copy = clone(model)
    list(oc.InsertQDQ(effort="fast", per_channel=per_channel).run(copy, ctx))
    path = model_io.save(copy, folder / "model.onnx", force=True)
    return Figures(sqnr(floats, rows(path, plain)), rows(path, of), seconds, done)


def _line(of: Case, wanted: np.ndarray, found: dict[str, Figures], per_channel: bool) -> str:
    none, auto = found[""], found["caps"]
    cells = [of.name, "channel" if per_channel else "tensor", *(f"{found[m].decibels:.1f}" for m in ("", *METHODS))]
    if of.measure is SQNR:
        cells += ["", "", "", ""]
    else:
        before, after = (compared(of, wanted, each.rows, 1.0) for each in (none, auto))
        change = compared(of, none.rows, auto.rows, 1.0)
        low, high = (100 * v for v in change.interval or (float("nan"),) * 2)
        cells += [f"{100 * (before.reference or 0):.1f}", f"{100 * before.value:.1f}", f"{100 * after.value:.1f}"]
        cells += [f"{100 * (change.difference or 0):+.1f} [{low:+.1f}, {high:+.1f}]"]
    cells += [str(auto.parts), f"{auto.seconds:.1f}"]
    return f"| {' | '.join(cells)} |"


def _page(lines: list[str], target: str) -> str:
    where = environment(OPTIONS)
    versions = ", ".join(f"{k} {where[k]}" for k in ("onnxcompress", "onnx", "onnxruntime", "numpy") if k in where)
    names = ["model", "a scale per", "dB without", *METHODS, "float", "without", "with", "change", "parts", "s"]
    head = (
        f"# Equalization\n\n{(__doc__ or '').strip()}\n\nTarget {target}; one thread, load {os.getloadavg()[2]:.0f}: "
    )
    head += f"seconds are no measure of speed. {versions}.\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}"
    return "\n".join([head, *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
