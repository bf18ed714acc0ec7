"""Blocks of convolutional networks, as their papers draw them, in plain torch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Conv(nn.Sequential):
    """Convolution, batch norm and, unless told otherwise, an activation."""

    def __init__(
        self, i: int, o: int, k: int = 3, s: int = 1, g: int = 1, act: type[nn.Module] | None = nn.ReLU
    ) -> None:
        super().__init__(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o))
        if act is not None:
            self.append(act())


class Residual(nn.Module):
    """ReLU(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, *, relu: bool = True) -> None:
        super().__init__()
        self.body, self.shortcut, self.relu = body, shortcut or nn.Identity(), relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x) + self.shortcut(x)
        return F.relu(y) if self.relu else y


class Branches(nn.Module):
    """The outputs of several branches of one input, side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class PreActivation(nn.Module):
    """Norm and activation come before the convolution; nothing follows the sum."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.n1, self.c1 = nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.c2(F.relu(self.n2(self.c1(F.relu(self.n1(x))))))


class OptionA(nn.Module):
    """A shortcut without weights: every second position, and channels of zeros before and after."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.pad = (o - i) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class Dense(nn.Module):
    """Norm, 1x1, norm, 3x3, and the input beside the result."""

    def __init__(self, i: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 2 * growth, 1, bias=False),
            nn.BatchNorm2d(2 * growth), nn.ReLU(), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.body(x)], 1)


class Harmonic(nn.Module):
    """Layer i reads layers i-1, i-2, i-4, ...; the odd ones and the last are the output."""

    def __init__(self, i: int, growth: int, layers: int) -> None:
        super().__init__()
        self.links = [
            [k - (1 << j) for j in range(4) if k % (1 << j) == 0 and k >= 1 << j] for k in range(1, layers + 1)
        ]
        widths = [i] + [growth] * layers
        self.layers = nn.ModuleList(Conv(sum(widths[j] for j in links), growth) for links in self.links)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = [x]
        for links, layer in zip(self.links, self.layers, strict=True):
            made.append(layer(torch.cat([made[j] for j in links], 1)))
        return torch.cat([y for k, y in enumerate(made) if k % 2 or k == len(made) - 1], 1)


class SqueezeExcite(nn.Module):
    """A gate for every channel from their means."""

    def __init__(self, c: int, gate: type[nn.Module] = nn.Sigmoid) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c // 2, 1), nn.ReLU(), nn.Conv2d(c // 2, c, 1), gate()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.net(x)


def shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Channels of the groups, interleaved."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleOne(nn.Module):
    """ShuffleNet v1: grouped 1x1, shuffle, depthwise, grouped 1x1, residual."""

    def __init__(self, c: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.enter, self.depth = Conv(c, c, 1, g=groups), Conv(c, c, 3, g=c, act=None)
        self.leave = Conv(c, c, 1, g=groups, act=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.leave(self.depth(shuffle(self.enter(x), self.groups))))


class ShuffleTwo(nn.Module):
    """ShuffleNet v2: one half passes, the other is worked on, then all are shuffled."""

    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.body = nn.Sequential(Conv(h, h, 1), Conv(h, h, 3, g=h, act=None), Conv(h, h, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, worked = x.chunk(2, 1)
        return shuffle(torch.cat([kept, self.body(worked)], 1), 2)


def inverted(i: int, o: int, expand: int, act: type[nn.Module] = nn.ReLU6, *, gate: bool = False) -> nn.Module:
    """MobileNet v2's and v3's block."""
    c = i * expand
    body = nn.Sequential(Conv(i, c, 1, act=act), Conv(c, c, 3, g=c, act=act))
    if gate:
        body.append(SqueezeExcite(c, nn.Hardsigmoid))
    body.append(Conv(c, o, 1, act=None))
    return Residual(body, relu=False) if i == o else body


class Ghost(nn.Module):
    """Half of the channels by a convolution, the others by cheap depthwise ones of those; a slice of both."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.o, half = o, -(-o // 2)
        self.main, self.cheap = Conv(i, half, 1), Conv(half, half, 3, g=half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.main(x)
        return torch.cat([y, self.cheap(y)], 1)[:, : self.o]


class Octave(nn.Module):
    """High and low resolution, each fed by both."""

    def __init__(self, c: int, low: int) -> None:
        super().__init__()
        self.hh, self.hl = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, low, 3, padding=1)
        self.ll, self.lh = nn.Conv2d(low, low, 3, padding=1), nn.Conv2d(low, c, 3, padding=1)

    def forward(self, high: torch.Tensor, low: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        up = F.interpolate(self.lh(low), scale_factor=2.0, mode="nearest")
        return F.relu(self.hh(high) + up), F.relu(self.ll(low) + self.hl(F.avg_pool2d(high, 2)))


class SelectiveKernel(nn.Module):
    """A softmax over branches, channel by channel, weighs them."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.c, self.small, self.large = c, Conv(c, c, 3), Conv(c, c, 5)
        self.squeeze, self.weigh = Conv(c, c, 1), nn.Conv2d(c, 2 * c, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.stack([self.small(x), self.large(x)], 1)
        w = self.weigh(self.squeeze(y.sum(1).mean((2, 3), keepdim=True)))
        return (y * w.view(-1, 2, self.c, 1, 1).softmax(1)).sum(1)


class SplitAttention(nn.Module):
    """ResNeSt: a grouped convolution's parts, weighed by a softmax over the parts."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.c, self.conv = c, Conv(c, 2 * c, 3, g=2)
        self.squeeze, self.weigh = Conv(c, c // 2, 1), nn.Conv2d(c // 2, 2 * c, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        n, _, h, w = y.shape
        parts = y.view(n, 2, self.c, h, w)
        weight = self.weigh(self.squeeze(parts.sum(1).mean((2, 3), keepdim=True))).view(n, 2, self.c).softmax(1)
        return (parts * weight[:, :, :, None, None]).sum(1)


class Cbam(nn.Module):
    """A gate for channels from means and maxima, then one for positions."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.dense, self.conv = (
            nn.Sequential(nn.Linear(c, c // 2), nn.ReLU(), nn.Linear(c // 2, c)),
            nn.Conv2d(2, 1, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.dense(x.mean((2, 3))) + self.dense(x.amax((2, 3))))
        x = x * gate[:, :, None, None]
        return x * torch.sigmoid(self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))


class Bottlenecks(nn.Module):
    """YOLOv8's C2f: two chunks, and a chain on the second whose every link is kept."""

    def __init__(self, i: int, o: int, links: int = 2) -> None:
        super().__init__()
        h = o // 2
        self.enter, self.leave = Conv(i, o, 1, act=nn.SiLU), Conv((2 + links) * h, o, 1, act=nn.SiLU)
        self.chain = nn.ModuleList(
            Residual(nn.Sequential(Conv(h, h, act=nn.SiLU), Conv(h, h, act=nn.SiLU)), relu=False) for _ in range(links)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for link in self.chain:
            parts.append(link(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Focus(nn.Module):
    """Each 2x2 of pixels as channels, by slices."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[..., a::2, b::2] for a in (0, 1) for b in (0, 1)], 1)
