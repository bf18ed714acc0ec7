"""VGG16 (Simonyan and Zisserman 2015, configuration D): 13 convolutions in five stages, then three dense layers."""

from __future__ import annotations

from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 4096


def build(width: float, classes: int, channels: int, size: int, norm: bool = False) -> nn.Module:
    """The network, `size` pixels a side and a multiple of 32, every layer `width` times as wide as published.

    At width 1, 1000 classes, 3 channels and 224 pixels it has the 138,357,544 parameters of the paper. `norm` puts
    BatchNorm behind every convolution, as the variants do that are trained today: it came after the paper.
    """
    layers: list[nn.Module] = []
    inputs = channels
    for stage in STAGES:
        for filters in (max(1, round(width * f)) for f in stage):
            layers.append(nn.Conv2d(inputs, filters, 3, padding=1, bias=not norm))
            layers += [*([nn.BatchNorm2d(filters)] if norm else []), nn.ReLU()]
            inputs = filters
        layers.append(nn.MaxPool2d(2))
    hidden = max(1, round(width * HIDDEN))
    head = [nn.Flatten(), nn.Linear(inputs * (size // 32) ** 2, hidden), nn.ReLU(), nn.Dropout(0.5)]
    head += [nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers, *head)
