"""Quantization of MobileNet V1 and V2: the text's three ways to choose a range, at 8 and 4 bits, and its four classes.

python -m samples.mobilenet_quantization.table [--quick | --again | --keep]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samples.measure import Measurer, make
from samples.pictures import DATA, MODELS, OUT, SEEDS, TRAIN, task, twin
from samples.sheet import ACCURACY, BATCH_FASTER, KB, SMALLER, ZIPPED, Sheet, panels

WORK = OUT / "mobilenet_quantization"
NETS = {"V1": "mobilenet_v1", "V2": "mobilenet_v2"}
SAMPLES = ("--samples", "500")
FAST = ("--effort", "fast")
FOUR = ("--weights", "int4")
LEAST = 72
CALIBRATORS = ("truncate", "uniform", "kl", "mse")
NOTE = """
Depthwise-separable blocks of both versions, a quarter as wide as published, on 32 x 32 pictures of clothes
(Fashion-MNIST, 1,500 test pictures). `python samples/models/make.py mobilenet_v1` (and v2) made the float models.
Calibrated with 500 unlabelled pictures, another choice for each of three seeds. What each row ran is in
samples/mobilenet_quantization/table.py.

    python -m samples.mobilenet_quantization.table

"int8, CALIBRATOR" and "w4a8, CALIBRATOR" differ in the rule for the range of activations alone (`--effort fast`:
nothing is repaired or left float; "truncate" also drops the low bits of weights, `--low-bits truncate`); weights have
8 and 4 bits, activations 8. "as it comes" is the command without any of these options.
"""


def int8(name: str, seed: int, *words: str) -> dict[str, Any]:
    """A quantized file's figures."""
    measurer = task(name)
    data = (*TRAIN, *SAMPLES, "--seed", str(seed))
    file = make(WORK / f"{name}.onnx", "quantize", measurer.original, *data, *words)
    return measurer.figures(file)


def by_calibrator(calibrator: str) -> tuple[str, ...]:
    """Words that choose one rule and nothing else."""
    low = ("--low-bits", "truncate") if calibrator == "truncate" else ()
    return ("--calibrator", calibrator, *low, *FAST)


def plain(measurer: Measurer, name: str, seed: int) -> dict[str, Any]:
    """A third of the cost cut by L1 norms, min-max ranges, nothing repaired."""
    cut = make(WORK / f"{name}.cut.onnx", "prune", measurer.original, "--target-macs", "0.7x", "--score", "l1")
    words = ("--calibrator", "uniform", *FAST, *TRAIN, *SAMPLES, "--seed", str(seed))
    return measurer.figures(make(WORK / f"{name}.plain.onnx", "quantize", cut, *words))


def pruned(measurer: Measurer, name: str, seed: int) -> dict[str, Any]:
    """The same amount cut by the error that it makes, refitted, quantized as it comes."""
    data = (*TRAIN, *SAMPLES, "--seed", str(seed))
    cut = make(WORK / f"{name}.cut.onnx", "prune", measurer.original, "--target-macs", "0.7x", *data)
    return measurer.figures(make(WORK / f"{name}.whole.onnx", "quantize", cut, *data))


def rows(sheet: Sheet, version: str, name: str) -> None:
    """All rows of one network."""
    measurer = task(name)
    sheet.row(f"{version} float", lambda _: measurer.figures(measurer.original), quick=True)
    for bits, words in (("int8", ()), ("w4a8", FOUR)):
        for calibrator in CALIBRATORS:
            chosen = (*words, *by_calibrator(calibrator))
            label, quick = f"{version} {bits}, {calibrator}", (bits, calibrator) == ("int8", "kl")
            sheet.row(label, lambda seed, w=chosen: int8(name, seed, *w), seeds=SEEDS, quick=quick)
        sheet.row(f"{version} {bits}, as it comes", lambda seed, w=words: int8(name, seed, *w), seeds=SEEDS)
    kinds = {"float16": ("--float16",), "int8 weights, no data": (), "dynamic": ("--dynamic",)}
    for label, words in kinds.items():
        sheet.row(f"{version} {label}", lambda _, w=words: _without_data(measurer, name, w))
    sheet.row(f"{version} fixed point (mobile)", lambda seed: int8(name, seed, "--target", "mobile"), seeds=SEEDS)
    sheet.row(f"{version} cut to 0.7x, int8", lambda seed: pruned(measurer, name, seed), seeds=SEEDS)
    sheet.row(f"{version} plain L1 + min-max, no repair", lambda seed: plain(measurer, name, seed), seeds=SEEDS)
    half = measurer.figures(MODELS / f"{name}_half.onnx") if not sheet.quick else {}
    sheet.row(f"{version} half-width twin", lambda seed: twin(name, seed, half), seeds=SEEDS)


def _without_data(measurer: Measurer, name: str, words: tuple[str, ...]) -> dict[str, Any]:
    file = make(WORK / f"{name}.nodata.onnx", "quantize", measurer.original, *words, "--allow-unchanged")
    return measurer.figures(file)


def main() -> None:
    columns = (ACCURACY, KB, ZIPPED, SMALLER, BATCH_FASTER)
    inputs: list[Path] = [DATA, *(MODELS / f"{n}{h}.onnx" for n in NETS.values() for h in ("", "_half"))]
    title = "MobileNet: ranges by truncation, uniform steps and KL divergence"
    sheet = Sheet("mobilenet_quantization", title, columns, NOTE, inputs)
    for version, name in NETS.items():
        rows(sheet, version, name)
    sheet.write(plot=panels(("accuracy", "accuracy on 1,500 test pictures, %"), ("kB", "kB"), least=LEAST))


if __name__ == "__main__":
    main()
