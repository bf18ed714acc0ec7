"""Small convolutional networks, each of one published kind, whose ways of moving channels they keep."""

from __future__ import annotations

from collections.abc import Callable

import torch
from builders.torch_blocks import (
    Bottlenecks,
    Branches,
    Cbam,
    Conv,
    Dense,
    Focus,
    Ghost,
    Harmonic,
    Octave,
    OptionA,
    PreActivation,
    Residual,
    SelectiveKernel,
    ShuffleOne,
    ShuffleTwo,
    SplitAttention,
    SqueezeExcite,
    inverted,
)
from builders.torch_export import Inputs, Net
from torch import nn
from torch.nn import functional as F

CLASSES, SIZE = 5, 16


def _classifier(c: int, *body: nn.Module, last: int | None = None) -> nn.Sequential:
    """Stem of `c` channels, the body, and a classifier over `last` (or `c`) of them."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last or c, CLASSES))
    return nn.Sequential(Conv(3, c, 3, 2), *body, *head)


def _basic(c: int) -> nn.Module:
    return Residual(nn.Sequential(Conv(c, c), Conv(c, c, act=None)))


def _bottleneck(c: int, groups: int = 1, middle: nn.Module | None = None) -> nn.Module:
    h = c // 2
    return Residual(nn.Sequential(Conv(c, h, 1), middle or Conv(h, h, g=groups), Conv(h, c, 1, act=None)))


def _separable(i: int, o: int) -> nn.Module:
    return nn.Sequential(Conv(i, i, g=i), Conv(i, o, 1))


def _mobilenet_v3() -> nn.Module:
    return _classifier(8, inverted(8, 8, 3, nn.Hardswish, gate=True), inverted(8, 8, 3, nn.Hardswish))


def _option_a() -> nn.Module:
    down = Residual(nn.Sequential(Conv(8, 16, 3, 2), Conv(16, 16, act=None)), OptionA(8, 16))
    return _classifier(8, _basic(8), down, _basic(16), last=16)


def _densenet() -> nn.Module:
    transition = nn.Sequential(nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2))
    return _classifier(8, Dense(8, 4), Dense(12, 4), Dense(16, 4), transition, Dense(10, 4), last=14)


def _inception() -> nn.Module:
    def block(i: int) -> nn.Module:
        pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), Conv(i, 4, 1))
        return Branches(Conv(i, 6, 1), nn.Sequential(Conv(i, 4, 1), Conv(4, 8)), pool)

    return _classifier(8, block(8), block(18), last=18)


def _fire() -> nn.Module:
    def block(i: int) -> nn.Module:
        return nn.Sequential(Conv(i, 6, 1), Branches(Conv(6, 8, 1), Conv(6, 8)))

    return nn.Sequential(
        Conv(3, 8, 3, 2), block(8), block(16), nn.Conv2d(16, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


class _OctaveNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.low = Conv(3, 12, 3, 2), nn.Conv2d(12, 6, 3, padding=1)
        self.first, self.second, self.head = Octave(12, 6), Octave(12, 6), nn.Linear(18, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        high, low = self.second(*self.first(x, self.low(F.avg_pool2d(x, 2))))
        return self.head(torch.cat([high.mean((2, 3)), low.mean((2, 3))], 1))


class _Vgg(nn.Module):
    """A picture flattened into dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(Conv(3, 8), nn.MaxPool2d(2), Conv(8, 16), nn.MaxPool2d(2))
        self.dense = nn.Sequential(nn.Linear(16 * 16, 32), nn.ReLU(), nn.Linear(32, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.features(x).flatten(1))


class _SharedStages(nn.Module):
    """One convolution used at three depths, each time with a norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.head = Conv(3, 12, 3, 2), nn.Conv2d(12, 12, 3, padding=1), nn.Linear(12, CLASSES)
        self.norms = nn.ModuleList(nn.BatchNorm2d(12) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for norm in self.norms:
            x = F.relu(norm(self.conv(x)))
        return self.head(x.mean((2, 3)))


class _UNet(nn.Module):
    """Down, up by transposed convolutions, with a skip at every depth; in two or three dimensions."""

    def __init__(self, dims: int, c: int = 8) -> None:
        super().__init__()
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if dims == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)

        def double(i: int, o: int) -> nn.Module:
            return nn.Sequential(
                conv(i, o, 3, padding=1), norm(o), nn.ReLU(), conv(o, o, 3, padding=1), norm(o), nn.ReLU()
            )

        self.d1, self.d2, self.d3 = double(3, c), double(c, 2 * c), double(2 * c, 4 * c)
        self.u2, self.u1 = up(4 * c, 2 * c, 2, 2), up(2 * c, c, 2, 2)
        self.r2, self.r1, self.head = double(4 * c, 2 * c), double(2 * c, c), conv(c, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.d1(x)
        two = self.d2(self.pool(one))
        three = self.d3(self.pool(two))
        y = self.r2(torch.cat([two, self.u2(three)], 1))
        return self.head(self.r1(torch.cat([one, self.u1(y)], 1)))


class _Aspp(nn.Module):
    """Branches of several dilations, one of them the mean of the picture, and a Resize to the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 12, 3, 2), _basic(12))
        self.branches = Branches(Conv(12, 8, 1), *(nn.Conv2d(12, 8, 3, padding=d, dilation=d) for d in (1, 2)))
        self.mean, self.head = Conv(12, 8, 1), nn.Sequential(Conv(32, 12, 1), nn.Conv2d(12, 4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        mean = F.interpolate(self.mean(y.mean((2, 3), keepdim=True)), size=y.shape[2:], mode="bilinear")
        return F.interpolate(self.head(torch.cat([self.branches(y), mean], 1)), size=x.shape[2:], mode="bilinear")


class _Yolo(nn.Module):
    """C2f stages, a pyramid, and a head of two scales whose box is a distribution (DFL)."""

    def __init__(self, bins: int = 4) -> None:
        super().__init__()
        self.bins = bins
        self.p3 = nn.Sequential(Focus(), Conv(12, 16, act=nn.SiLU), Bottlenecks(16, 16))
        self.p4 = nn.Sequential(Conv(16, 24, 3, 2, act=nn.SiLU), Bottlenecks(24, 24))
        self.merge = Bottlenecks(40, 16)
        self.boxes = nn.ModuleList(nn.Sequential(Conv(c, 8), nn.Conv2d(8, 4 * bins, 1)) for c in (16, 24))
        self.classes = nn.ModuleList(nn.Sequential(Conv(c, 8), nn.Conv2d(8, 3, 1)) for c in (16, 24))
        self.project = nn.Parameter(torch.arange(float(bins)).view(1, bins, 1, 1), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        three = self.p3(x)
        four = self.p4(three)
        three = self.merge(torch.cat([three, F.interpolate(four, scale_factor=2.0, mode="nearest")], 1))
        maps = [
            torch.cat([b(y), c(y)], 1).flatten(2)
            for b, c, y in zip(self.boxes, self.classes, (three, four), strict=True)
        ]
        box, scores = torch.cat(maps, 2).split([4 * self.bins, 3], 1)
        spread = box.view(box.shape[0], 4, self.bins, -1).transpose(1, 2).softmax(1)
        return torch.cat([F.conv2d(spread, self.project).squeeze(1), scores.sigmoid()], 1)


def _pixel_shuffle() -> nn.Module:
    body = nn.Sequential(_basic(12), Residual(nn.Sequential(Conv(12, 12), Conv(12, 12, act=None)), relu=False))
    up = (
        nn.Conv2d(12, 32, 3, padding=1),
        nn.PixelShuffle(2),
        nn.PReLU(8),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )
    return nn.Sequential(Conv(3, 12), body, *up)


BOTH, OLD = ("legacy", "dynamo"), ("legacy",)
_NETS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "vgg": (_Vgg, BOTH),
    "resnet_basic": (lambda: _classifier(12, _basic(12), _basic(12)), BOTH),
    "resnet_bottleneck": (lambda: _classifier(16, _bottleneck(16), _bottleneck(16)), OLD),
    "resnet_option_a": (_option_a, BOTH),
    "resnext": (lambda: _classifier(32, _bottleneck(32, 4), _bottleneck(32, 4)), OLD),
    "preactivation": (lambda: _classifier(12, PreActivation(12), PreActivation(12)), OLD),
    "densenet": (_densenet, BOTH),
    "hardnet": (lambda: _classifier(8, Harmonic(8, 6, 8), last=30), OLD),
    "inception": (_inception, OLD),
    "squeezenet": (_fire, OLD),
    "squeeze_excite": (lambda: _classifier(16, _bottleneck(16, middle=SqueezeExcite(8)), _basic(16)), OLD),
    "shufflenet_v1": (lambda: _classifier(24, ShuffleOne(24, 3), ShuffleOne(24, 3)), BOTH),
    "shufflenet_v2": (lambda: _classifier(16, ShuffleTwo(16), ShuffleTwo(16)), BOTH),
    "mobilenet_v1": (lambda: _classifier(8, _separable(8, 16), _separable(16, 16), last=16), OLD),
    "mobilenet_v2": (lambda: _classifier(8, inverted(8, 8, 3), inverted(8, 12, 3), last=12), BOTH),
    "mobilenet_v3": (_mobilenet_v3, OLD),
    "ghostnet": (lambda: _classifier(12, Residual(nn.Sequential(Ghost(12, 17), Ghost(17, 12))), Ghost(12, 12)), OLD),
    "octave": (_OctaveNet, OLD),
    "selective_kernel": (lambda: _classifier(16, _bottleneck(16, middle=SelectiveKernel(8)), _basic(16)), BOTH),
    "split_attention": (lambda: _classifier(16, _bottleneck(16, middle=SplitAttention(8)), _basic(16)), OLD),
    "cbam": (lambda: _classifier(12, _basic(12), Cbam(12), _basic(12)), BOTH),
    "shared_stages": (_SharedStages, OLD),
    "unet": (lambda: _UNet(2), BOTH),
    "aspp": (_Aspp, OLD),
    "pixel_shuffle": (_pixel_shuffle, BOTH),
    "yolo": (_Yolo, BOTH),
}


def vision_nets() -> list[Net]:
    """All of them, and the one in three dimensions."""
    nets = [Net(name, _built(make), free={"x": {0: "batch"}}, exporters=by) for name, (make, by) in _NETS.items()]
    return [*nets, Net("unet_3d", lambda: (_UNet(3, 4), {"x": torch.randn(2, 3, 8, 8, 8)}), exporters=("legacy",))]


def _built(make: Callable[[], nn.Module]) -> Callable[[], tuple[nn.Module, Inputs]]:
    return lambda: (make(), {"x": torch.randn(2, 3, SIZE, SIZE)})
