"""MobileNet V2 (Sandler et al. 2018): inverted residuals with linear bottlenecks."""

from __future__ import annotations

from torch import Tensor, nn

FIRST, LAST = 32, 1280
# Expansion, filters, blocks, stride of the first (table 2 of the paper).
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
SMALL = 64


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and BatchNorm."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Widen by 1 x 1, filter each channel, narrow again without a nonlinearity; beside the identity where it fits."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        widen = [*conv(inputs, inner, 1), nn.ReLU6()] if expansion > 1 else []
        self.branch = nn.Sequential(*widen, *conv(inner, inner, 3, stride, inner), nn.ReLU6(), *conv(inner, outputs, 1))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.same else self.branch(x)


def build(width: float, classes: int, channels: int, size: int) -> nn.Module:
    """The network, every layer `width` times as wide as published (the paper's width multiplier).

    At width 1, 1000 classes, 3 channels and 224 pixels it has the 3,504,872 parameters of the published one. Below 64
    pixels a side the second stride is 1: little else would be left.
    """
    inputs = max(1, round(width * FIRST))
    small = size < SMALL
    layers: list[nn.Module] = [*conv(channels, inputs, 3, 2), nn.ReLU6()]
    for number, (expansion, published, count, first) in enumerate(STAGES):
        outputs = max(1, round(width * published))
        for block in range(count):
            stride = first if not block and not (small and number == 1) else 1
            layers.append(InvertedResidual(inputs, outputs, expansion, stride))
            inputs = outputs
    last = max(1, round(width * LAST))
    layers += [*conv(inputs, last, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(last, classes))
