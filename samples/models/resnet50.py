"""ResNet50 (He et al. 2016): bottlenecks in stages of 3, 4, 6 and 3; the stride lies on the 3 x 3 convolution."""

from __future__ import annotations

from torch import Tensor, nn

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
EXPANSION = 4
SMALL = 64


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution and BatchNorm."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 beside the identity, or beside a projection where the shape changes."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        outputs = filters * EXPANSION
        self.branch = nn.Sequential(
            conv(inputs, filters, 1), nn.ReLU(), conv(filters, filters, 3, stride), nn.ReLU(), conv(filters, outputs, 1)
        )
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.branch(x) + self.skip(x))


def build(width: float, classes: int, channels: int, size: int) -> nn.Module:
    """The network, every layer `width` times as wide as published.

    At width 1, 1000 classes, 3 channels and 224 pixels it has the 25,557,032 parameters of the published one. Below 64
    pixels a side the stem keeps the size (stride 1) and pools once: little else would be left.
    """
    inputs = max(1, round(width * STAGES[0][0]))
    small = size < SMALL
    layers: list[nn.Module] = [conv(channels, inputs, 7, 1 if small else 2), nn.ReLU()]
    layers += [nn.MaxPool2d(2)] if small else [nn.MaxPool2d(3, 2, 1)]
    for number, (published, count) in enumerate(STAGES):
        filters = max(1, round(width * published))
        for block in range(count):
            layers.append(Bottleneck(inputs, filters, 2 if number and not block else 1))
            inputs = filters * EXPANSION
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
