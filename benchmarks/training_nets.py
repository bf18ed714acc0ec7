"""Networks for the training benchmarks, written as one writes them; each returns logits and its block outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as nnf

Answer = tuple[torch.Tensor, list[torch.Tensor]]
CLASSES = 10


class _Basic(nn.Module):
    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(made), nn.BatchNorm2d(made)
        self.second = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        plain = given == made and stride == 1
        self.short = (
            nn.Identity()
            if plain
            else nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Relu of body plus shortcut."""
        inner = nnf.relu(self.norm1(self.first(x)))
        return nnf.relu(self.norm2(self.second(inner)) + self.short(x))


class ResNet(nn.Module):
    """Basic blocks of 16, 32 and 64 channels (He et al. 2015, arXiv 1512.03385); ResNet-20 has 3 of each.

    Args:
        blocks: Of each width.
        channels: Of a picture.
    """

    def __init__(self, blocks: int, channels: int = 3) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        more = blocks - 1
        plan = [(16, 16, 1)] * blocks + [(16, 32, 2), *[(32, 32, 1)] * more] + [(32, 64, 2), *[(64, 64, 1)] * more]
        self.blocks = nn.ModuleList(_Basic(*entry) for entry in plan)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> Answer:
        """Logits and the output of each block."""
        x, seen = nnf.relu(self.norm(self.stem(x))), list[torch.Tensor]()
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        return self.head(x.mean((2, 3))), seen


class _Inverted(nn.Module):
    def __init__(self, given: int, made: int, stride: int, grow: int) -> None:
        super().__init__()
        wide = given * grow
        self.body = nn.Sequential(
            nn.Conv2d(given, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, made, 1, bias=False), nn.BatchNorm2d(made),
        )  # fmt: skip
        self.plain = given == made and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The body, with a shortcut where sizes agree."""
        return x + self.body(x) if self.plain else self.body(x)


class MobileNetV2(nn.Module):
    """Inverted residuals, six times wider inside (Sandler et al. 2018, arXiv 1801.04381), for 32 x 32 pixels.

    Args:
        channels: Of a picture.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        plan = [(16, 16, 1, 1), (16, 24, 1, 6), (24, 24, 1, 6), (24, 32, 2, 6), (32, 32, 1, 6), (32, 64, 2, 6)]
        plan += [(64, 64, 1, 6), (64, 96, 1, 6), (96, 160, 2, 6), (160, 160, 1, 6)]
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.blocks = nn.Sequential(*[_Inverted(*entry) for entry in plan])
        self.tail = nn.Sequential(nn.Conv2d(160, 320, 1, bias=False), nn.BatchNorm2d(320), nn.ReLU6())
        self.head = nn.Linear(320, CLASSES)

    def forward(self, x: torch.Tensor) -> Answer:
        """Logits."""
        return self.head(self.tail(self.blocks(self.stem(x))).mean((2, 3))), []


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attention and MLP, each after a norm and beside a shortcut."""
        tokens, width = x.shape[1], x.shape[2]
        mixed = self.mixed(self.norm1(x)).reshape(-1, tokens, 3, self.heads, width // self.heads)
        q, k, v = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        seen = nnf.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, tokens, width)
        x = x + self.out(seen)
        return x + self.down(nnf.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """Four layers of width 96 over 8 x 8 patches (Dosovitskiy et al. 2020, arXiv 2010.11929)."""

    def __init__(self, width: int = 96, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.places = nn.Parameter(0.02 * torch.randn(1, 64, width))
        self.layers = nn.Sequential(*[_Layer(width, 4) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> Answer:
        """Logits from the mean over the patches."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.norm(self.layers(x)).mean(1)), []


class Logits(nn.Module):
    """A network without what it returns for hints.

    Args:
        module: The network.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits alone."""
        return self.module(x)[0]


NETS: dict[str, Callable[[], nn.Module]] = {"resnet20": lambda: ResNet(3), "mobilenetv2": MobileNetV2, "vit": ViT}
