"""MobileNet V1 (Howard et al. 2017): thirteen depthwise-separable convolutions behind one full one."""

from __future__ import annotations

from torch import nn

FIRST = 32
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
SMALL = 64


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, BatchNorm, ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def build(width: float, classes: int, channels: int, size: int) -> nn.Module:
    """The network, every layer `width` times as wide as published (the paper's width multiplier).

    At width 1, 1000 classes, 3 channels and 224 pixels it has the published 4.23 million parameters. Below 64 pixels a
    side the second stride is 1: little else would be left.
    """
    inputs = max(1, round(width * FIRST))
    small = size < SMALL
    layers = conv(channels, inputs, 3, 2)
    for number, (published, stride) in enumerate(BLOCKS):
        outputs = max(1, round(width * published))
        stride = 1 if small and number == 1 else stride
        layers += [*conv(inputs, inputs, 3, stride, groups=inputs), *conv(inputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
