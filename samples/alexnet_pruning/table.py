"""Pruning of AlexNet with other rates for other layers, by threshold and by histogram.

python -m samples.alexnet_pruning.table [--quick | --again | --keep]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samples.alexnet_pruning.layers import bars, layers, table
from samples.alexnet_pruning.pictures import test
from samples.measure import Measurer, make
from samples.pictures import MODELS, OUT, PREPARED, SEEDS, twin
from samples.sheet import ACCURACY, BATCH_FASTER, KB, MACS, PARAMS, ZIPPED, Sheet, draw, panels

HERE = Path(__file__).parent
FLOAT = MODELS / "alexnet.onnx"
HALF = MODELS / "alexnet_half.onnx"
WORK = OUT / "alexnet_pruning"
CALIBRATION = ("--data", f"{HERE / 'pictures.py'}:train", "--samples", "500", *PREPARED)
ALEXNET = Measurer(FLOAT, ("--data", f"{HERE / 'pictures.py'}:test", *PREPARED))
# Rates of single weights; both set 78 % of all to zero.
DENSE_HIGH = ("--layer", "op:Conv=0.3", "--layer", "op:Gemm=0.85")
DENSE_LOW = ("--layer", "op:Conv=0.9", "--layer", "op:Gemm=0.763")
# Rates of filters and neurons.
LATE = ("--layer", "re:conv[12]/=0.1", "--layer", "re:conv[345]/=0.3", "--layer", "re:fc=0.7")
EARLY = ("--layer", "re:conv[12]/=0.5", "--layer", "re:conv[345]/=0.5", "--layer", "re:fc=0.1")
LEAST = 65
PANELS = (
    ("accuracy", "accuracy on 1,500 test pictures, %"),
    ("zipped", "kB zipped"),
    ("batch_faster", "times as fast"),
)
NOTE = """
Five convolutions and three dense layers, an eighth as wide as published, on pictures of clothes (Fashion-MNIST, 1,500
test pictures) at 64 x 64. `python samples/models/make.py alexnet` made the float model. Pruned with 500 unlabelled
pictures. What each row ran is in samples/alexnet_pruning/table.py.

    python -m samples.alexnet_pruning.table

"dense high" takes much of the dense layers and little of the convolutions, "dense low" the reverse: of single weights
85 and 30 %, or 76 and 90 %, which is the same number of zeros; of filters and neurons 70 % of the dense layers' and
10 to 30 % of the convolutions', or 10 and 50 %. "repaired": the other weights were refitted to the float model's
outputs.
"""


def weights(way: str, words: tuple[str, ...], repaired: bool) -> dict[str, Any]:
    """Single weights set to zero."""
    data = CALIBRATION if repaired else ()
    return ALEXNET.figures(make(WORK / "weights.onnx", "prune", FLOAT, "--weights", way, *words, *data))


def filters(name: str, words: tuple[str, ...], repaired: bool = True) -> Path:
    """Whole filters and neurons removed."""
    data = CALIBRATION if repaired else ("--score", "l1")
    return make(WORK / f"{name}.onnx", "prune", FLOAT, "--ratio", "0", *words, *data)


def int8(file: Path, *words: str) -> dict[str, Any]:
    """The file in int8."""
    return ALEXNET.figures(make(WORK / "int8.onnx", "quantize", file, *CALIBRATION, *words))


def main() -> None:
    columns = (ACCURACY, PARAMS, MACS, KB, ZIPPED, BATCH_FASTER)
    inputs = (FLOAT, HALF, HERE / "pictures.py")
    sheet = Sheet("alexnet_pruning", "AlexNet: other rates for other layers", columns, NOTE, inputs)
    sheet.row("float", lambda _: ALEXNET.figures(FLOAT), quick=True)
    histogram = ("--cut", "percentile")
    for label, words in (("dense high", DENSE_HIGH), ("dense low", DENSE_LOW)):
        for way, cut in (("threshold", ()), ("histogram", histogram)):
            for told, repaired in (("", False), (", repaired", True)):
                quick = repaired and way == "threshold"
                sheet.row(
                    f"{way}, {label}{told}", lambda _, a=(way, (*words, *cut), repaired): weights(*a), quick=quick
                )
    sheet.row("histogram, each layer's valley", lambda _: weights("histogram", ("--cut", "valley"), True))
    sheet.row("filters, dense high", lambda _: ALEXNET.figures(filters("late", LATE)), quick=True)
    sheet.row("filters, dense low", lambda _: ALEXNET.figures(filters("early", EARLY)))
    sheet.row("filters, dense high, int8", lambda _: int8(filters("late", LATE)))
    plain = ("--calibrator", "uniform", "--effort", "fast")
    sheet.row("plain L1 + min-max, no repair", lambda _: int8(filters("plain", LATE, repaired=False), *plain))
    half = ALEXNET.figures(HALF) if not sheet.quick else {}
    sheet.row("half-width twin from scratch", lambda seed: twin("alexnet", seed, half), seeds=SEEDS)
    plot = panels(*PANELS, least=LEAST)
    sheet.write(plot=plot, remarks="" if sheet.quick else where(sheet.folder))


def where(folder: Path) -> str:
    """A table and a plot of the layers' shares, timed at 100 pictures a run."""
    batch = ((test()["image"][:100, None] / 255 - 0.2860) / 0.3530).astype(np.float32)
    found = layers(FLOAT, batch)
    draw(bars, found, folder / "alexnet_layers.svg")
    return f"""
## Where the parameters and the time go

{table(found)}

![shares of the layers](alexnet_layers.svg)

ONNX Runtime's own profile of the float model, one thread, 100 pictures a run. "all else" is pooling and
changes of layout.
"""


if __name__ == "__main__":
    main()
