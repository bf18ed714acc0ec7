"""Pruning of VGG16 in the three ways of the text and by whole filters, then self-compression.

python -m samples.vgg16_pruning.table [--quick | --again | --keep]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samples.measure import make
from samples.pictures import CALIBRATION, DATA, MODELS, OUT, SEEDS, TRAIN, task, twin
from samples.sheet import ACCURACY, BATCH_FASTER, KB, MACS, PARAMS, SMALLER, ZIPPED, Sheet, panels

FLOAT = MODELS / "vgg16.onnx"
HALF = MODELS / "vgg16_half.onnx"
WORK = OUT / "vgg16_pruning"
VGG = task("vgg16")
SHARE = "0.4x"
STEPS = ("--steps", "400")
LEAST = 75
PANELS = (
    ("accuracy", "accuracy on 1,500 test pictures, %"),
    ("zipped", "kB zipped"),
    ("batch_faster", "times as fast"),
)
NOTE = """
Thirteen convolutions and three dense layers, an eleventh as wide as published, on 32 x 32 pictures of clothes
(Fashion-MNIST, 1,500 test pictures). `python samples/models/make.py vgg16` made the float model. Pruned with 500
unlabelled pictures, distilled with 4,000. What each row ran is in samples/vgg16_pruning/table.py.

    python -m samples.vgg16_pruning.table

"kB zipped" is the file deflated; "faster" is the float model's time over this one's in ONNX Runtime, one thread, at a
batch that takes 10 ms. "repaired": the other weights were refitted to the float model's outputs. A rate of single
weights is the share that became zero, in every row of that rate the same.
"""
WAYS = ("threshold", "global", "histogram")


def weights(way: str, rate: str, repaired: bool) -> dict[str, Any]:
    """Single weights set to zero; a histogram cut at the percentile, so that all ways take the same share."""
    cut = ("--cut", "percentile") if way == "histogram" else ()
    data = CALIBRATION if repaired else ()
    file = WORK / f"{way}.{rate}.{'repaired' if repaired else 'plain'}.onnx"
    return VGG.figures(make(file, "prune", FLOAT, "--weights", way, "--sparsity", rate, *cut, *data))


def filters() -> Path:
    """Whole filters and neurons removed, the rest refitted."""
    return make(WORK / "filters.onnx", "prune", FLOAT, "--target-macs", SHARE, *CALIBRATION)


def distilled(seed: int) -> Path:
    """The pruned network taught by the float one, without labels."""
    words = (filters(), "--teacher", FLOAT, *TRAIN, *STEPS, "--seed", str(seed))
    return make(WORK / f"distilled.{seed}.onnx", "distill", *words)


def self_compressed(seed: int) -> dict[str, Any]:
    """Training, cutting and rewinding of the learning rate in turns, down to the same cost."""
    words = ("--self-compress", "--target-macs", SHARE, "--stage-cut", "0.15", "--max-gap", "0.2")
    file = make(WORK / f"self.{seed}.onnx", "distill", FLOAT, *TRAIN, *words, "--seed", str(seed))
    return VGG.figures(file)


def whole(seed: int) -> dict[str, Any]:
    """Pruned, distilled, quantized."""
    return VGG.figures(make(WORK / f"whole.{seed}.onnx", "quantize", distilled(seed), *CALIBRATION))


def plain() -> dict[str, Any]:
    """L1 norms and min-max ranges, nothing repaired: what a script of an afternoon does."""
    cut = make(WORK / "plain.pruned.onnx", "prune", FLOAT, "--target-macs", SHARE, "--score", "l1")
    words = ("--calibrator", "uniform", "--effort", "fast", *CALIBRATION)
    return VGG.figures(make(WORK / "plain.onnx", "quantize", cut, *words))


def main() -> None:
    columns = (ACCURACY, PARAMS, MACS, KB, ZIPPED, SMALLER, BATCH_FASTER)
    sheet = Sheet(
        "vgg16_pruning", "VGG16: three ways to prune, and self-compression", columns, NOTE, (FLOAT, HALF, DATA)
    )
    sheet.row("float", lambda _: VGG.figures(FLOAT), quick=True)
    for rate in ("0.5", "0.8"):
        for way in WAYS:
            sheet.row(f"{way} {float(rate):.0%}", lambda _, w=way, r=rate: weights(w, r, repaired=False))
    for way in WAYS:
        quick = way == "threshold"
        sheet.row(f"{way} 80%, repaired", lambda _, w=way: weights(w, "0.8", repaired=True), quick=quick)
    sheet.row(f"filters, {SHARE} MACs", lambda _: VGG.figures(filters()), quick=True)
    sheet.row("filters, distilled", lambda seed: VGG.figures(distilled(seed)), seeds=SEEDS)
    sheet.row("self-compression", self_compressed, seeds=SEEDS)
    sheet.row("filters, distilled, int8", whole, seeds=SEEDS)
    sheet.row("plain L1 + min-max, no repair", lambda _: plain())
    half = VGG.figures(HALF) if not sheet.quick else {}
    sheet.row("half-width twin from scratch", lambda seed: twin("vgg16", seed, half), seeds=SEEDS)
    sheet.write(plot=panels(*PANELS, least=LEAST))


if __name__ == "__main__":
    main()
