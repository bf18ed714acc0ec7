"""VGG16 (Simonyan and Zisserman 2015, configuration D): 13 convolutions in five stages, then three dense layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 4096


def build(width: float, classes: int, channels: int, size: int, norm: bool = False) -> nn.Module:
    """The network, `size` pixels a side and a multiple of 32, every layer `width` times as wide as published.

    At width 1, 1000 classes, 3 channels and 224 pixels it has the 138,357,544 parameters of the paper. `norm` puts
    BatchNorm behind every convolution, as the variants do that are trained today: it came after the paper.
    """
    layers: dict[str, nn.Module] = {}
    inputs = channels
    for stage, published in enumerate(STAGES, 1):
        for number, filters in enumerate((max(1, round(width * f)) for f in published), 1):
            place = f"{stage}_{number}"
            layers[f"conv{place}"] = nn.Conv2d(inputs, filters, 3, padding=1, bias=not norm)
            if norm:
                layers[f"norm{place}"] = nn.BatchNorm2d(filters)
            layers[f"relu{place}"] = nn.ReLU()
            inputs = filters
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    return nn.Sequential(
        OrderedDict(layers | dense(inputs * (size // 32) ** 2, max(1, round(width * HIDDEN)), classes))
    )


def dense(inputs: int, hidden: int, classes: int) -> dict[str, nn.Module]:
    """The three layers at the end."""
    return {
        "flatten": nn.Flatten(),
        "fc6": nn.Linear(inputs, hidden), "relu6": nn.ReLU(), "drop6": nn.Dropout(0.5),
        "fc7": nn.Linear(hidden, hidden), "relu7": nn.ReLU(), "drop7": nn.Dropout(0.5),
        "fc8": nn.Linear(hidden, classes),
    }  # fmt: skip
