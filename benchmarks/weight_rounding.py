"""What bias correction and second-order rounding give back: rounded to nearest, biases corrected, weights rounded anew.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/weight_rounding.py [--out docs/results/rounding.md] [NAME ...]

256 unlabelled samples, no training. Each model is normalized, its batch norms folded, and quantized by `insert-qdq
--effort fast --islands 0` for ort-cpu (activations uint8; weights int8, or int4 with one scale a channel); then
`correct-bias`, or `round-weights` without and with `rescale`, has the float model as teacher. Figures are points of the
model's measure lost against float on the whole test set, paired, with the 95 % interval, and the SQNR of the outputs in
dB. Seconds are of processor time, one run. NAME is as in cases.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from cases import Case, case
from measures import Measure, first
from scores import compared, rows, sqnr

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.data import ArraySource, canonical
from onnxcompress.environment import environment
from onnxcompress.graph import clone
from onnxcompress.passes.base import Pass
from onnxcompress.passes.correct_bias import CorrectBias
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.round_weights import RoundWeights
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context

OPTIONS = RuntimeOptions(threads=1)
MODELS = (
    "fmnist_resnet8", "fmnist_vgg_bn", "fmnist_vit", "bccd_dwcnn", "ecg_resnet1d_ds1",
    "fmnist_resnet20", "fmnist_resnet32", "fmnist_mbv2",
)  # fmt: skip
STEPS: dict[str, Pass | None] = {
    "to nearest": None,
    "correct-bias": CorrectBias(),
    "round-weights": RoundWeights(),
    "round-weights, rescale": RoundWeights(rescale=True),
}
SAMPLES = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=MODELS)
    parser.add_argument("--out", type=Path, help="page to write")
    given = parser.parse_args()
    lines: list[str] = []
    for name in given.names:
        try:
            found = case(name, calibration=SAMPLES)
        except KeyError:
            print(f"{name}: not in ONNXCOMPRESS_TEST_DATA or ONNXCOMPRESS_BENCH", file=sys.stderr)
            continue
        for line in _lines(found):
            lines.append(line)
            print(line, flush=True)
    if given.out:
        given.out.write_text(_page(lines), encoding="utf-8")


def _lines(of: Case) -> Iterator[str]:
    teacher = model_io.load(str(of.path))
    for step in (oc.Normalize(), oc.FoldBatchNorm()):
        list(step.run(teacher, context(teacher)))
    raw = replace(of, measure=Measure("SQNR", first))
    wanted = rows(of.path, raw)
    for weights in ("int8", "int4"):
        start, _ = _run(teacher, teacher, InsertQDQ(weights=weights, effort="fast", islands="0"), of)
        cells: list[str] = []
        for refine in STEPS.values():
            made, seconds = (start, 0.0) if refine is None else _run(start, teacher, refine, of)
            cells.append(_cell(raw, of, wanted, made, seconds))
        yield f"| {of.name} | {weights} | {' | '.join(cells)} |"


def _run(model: ir.Model, teacher: ir.Model, step: Pass, of: Case) -> tuple[ir.Model, float]:
    """A copy of `model` after one pass, and the processor time that it took."""
    edited, start = clone(model), time.process_time()
    list(step.run(edited, context(edited, data=canonical(ArraySource(of.calibration)), teacher=teacher)))
    return edited, time.process_time() - start


def _cell(raw: Case, of: Case, wanted: np.ndarray, made: ir.Model, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        got = rows(model_io.save(made, Path(folder) / "model.onnx"), raw)
    found = compared(of, *(of.measure.reduce({"output": outputs}) for outputs in (wanted, got)), smaller=1.0)
    lost = ""
    if found.difference is not None and found.interval is not None:
        low, high = (100 * end for end in found.interval)
        lost = f"{100 * found.difference:+.2f} [{low:+.2f}, {high:+.2f}], "
    return f"{lost}{sqnr(wanted, got):.1f} dB" + (f", {seconds:.0f} s" if seconds else "")


def _page(lines: list[str]) -> str:
    where = environment(OPTIONS)
    versions = ", ".join(f"{k} {where[k]}" for k in ("onnxcompress", "onnxruntime", "numpy") if k in where)
    head = f"# Weights rounded by what they do\n\n{(__doc__ or '').strip()}\n\n{versions}; one thread.\n"
    table = [f"| model | weights | {' | '.join(STEPS)} |", "|" + "---|" * (len(STEPS) + 2)]
    return "\n".join([head, *table, *lines]) + "\n"


if __name__ == "__main__":
    main()
