"""Small transformers, recurrent nets and nets over sequences, each of one published kind, in plain torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from builders.torch_export import Inputs, Net
from torch import nn
from torch.nn import functional as F

WORDS, WIDTH, HEADS, LENGTH = 64, 32, 4, 8


class Attention(nn.Module):
    """Heads from one joint projection (`joint`, as GPT-2 and ViT) or three (as BERT); causal where asked."""

    def __init__(self, *, joint: bool = False, causal: bool = False) -> None:
        super().__init__()
        self.joint, self.causal = joint, causal
        self.inward = nn.ModuleList(
            [nn.Linear(WIDTH, 3 * WIDTH)] if joint else [nn.Linear(WIDTH, WIDTH) for _ in range(3)]
        )
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, _ = x.shape
        parts = self.inward[0](x).split(WIDTH, 2) if self.joint else [layer(x) for layer in self.inward]
        q, k, v = (p.view(n, t, HEADS, WIDTH // HEADS).transpose(1, 2) for p in parts)
        scores = q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5
        if self.causal:
            scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1), -1e9)
        return self.out((scores.softmax(3) @ v).transpose(1, 2).reshape(n, t, WIDTH))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 3 * WIDTH), nn.GELU(), nn.Linear(3 * WIDTH, WIDTH))


class Block(nn.Module):
    """Attention and an MLP with norms before (`first`) or after the sums."""

    def __init__(self, attention: nn.Module, *, first: bool = True) -> None:
        super().__init__()
        self.attention, self.mlp, self.first = attention, _mlp(), first
        self.n1, self.n2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.first:
            x = x + self.attention(self.n1(x))
            return x + self.mlp(self.n2(x))
        x = self.n1(x + self.attention(x))
        return self.n2(x + self.mlp(x))


class _Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH * 2, WIDTH)
        self.norm, self.blocks = (
            nn.LayerNorm(WIDTH),
            nn.Sequential(*(Block(Attention(), first=False) for _ in range(2))),
        )
        self.pool, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        places = self.places(torch.arange(ids.shape[1], device=ids.device))
        x = self.blocks(self.norm(self.words(ids) + places))
        return self.head(torch.tanh(self.pool(x[:, 0])))


class _Gpt(nn.Module):
    """The table of words is the classifier too."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH * 2, WIDTH)
        self.blocks = nn.Sequential(*(Block(Attention(joint=True, causal=True)) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.norm(self.blocks(x)))


class _Rms(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(c))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class _LlamaBlock(nn.Module):
    """Rotary positions, two queries' heads for each of keys and values, norms on queries and keys, gated MLP."""

    def __init__(self, groups: int = 2) -> None:
        super().__init__()
        self.size, self.groups = WIDTH // HEADS, groups
        self.q, self.o = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.k, self.v = (nn.Linear(WIDTH, groups * self.size, bias=False) for _ in range(2))
        self.n1, self.n2, self.nq, self.nk = _Rms(WIDTH), _Rms(WIDTH), _Rms(self.size), _Rms(self.size)
        self.gate, self.up = (nn.Linear(WIDTH, 3 * WIDTH, bias=False) for _ in range(2))
        self.down = nn.Linear(3 * WIDTH, WIDTH, bias=False)

    def _turned(self, x: torch.Tensor) -> torch.Tensor:
        half = self.size // 2
        angle = torch.arange(x.shape[2], device=x.device)[:, None] * 0.5 ** torch.arange(half, device=x.device)
        cos, sin = torch.cat([angle.cos()] * 2, 1), torch.cat([angle.sin()] * 2, 1)
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], 3) * sin

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, _ = x.shape
        y = self.n1(x)
        q = self._turned(self.nq(self.q(y).view(n, t, HEADS, self.size)).transpose(1, 2))
        k = self._turned(self.nk(self.k(y).view(n, t, self.groups, self.size)).transpose(1, 2))
        v = self.v(y).view(n, t, self.groups, self.size).transpose(1, 2)
        shape = (n, self.groups, HEADS // self.groups, t, self.size)
        k, v = (z[:, :, None].expand(shape).reshape(n, HEADS, t, self.size) for z in (k, v))
        scores = q @ k.transpose(2, 3) * self.size**-0.5
        scores = scores + torch.full((t, t), -1e9, device=x.device).triu(1)
        x = x + self.o((scores.softmax(3) @ v).transpose(1, 2).reshape(n, t, WIDTH))
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class _Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.blocks = nn.Embedding(WORDS, WIDTH), nn.Sequential(_LlamaBlock(), _LlamaBlock())
        self.norm, self.head = _Rms(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.words(ids))))


class _Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, WIDTH, 4, 4), nn.Parameter(torch.randn(1, 1, WIDTH))
        self.places = nn.Parameter(torch.randn(1, 17, WIDTH))
        self.blocks = nn.Sequential(*(Block(Attention(joint=True)) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class _SwinBlock(nn.Module):
    """Attention within windows of 4x4 positions, which every other block moves by two."""

    def __init__(self, shift: int, side: int = 8, window: int = 4) -> None:
        super().__init__()
        self.shift, self.side, self.window, self.attention = shift, side, window, Attention(joint=True)
        self.n1, self.n2, self.mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), _mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, s, w = x.shape[0], self.side, self.window
        y = self.n1(x).view(n, s, s, WIDTH)
        y = torch.roll(y, (-self.shift, -self.shift), (1, 2)) if self.shift else y
        y = y.view(n, s // w, w, s // w, w, WIDTH).transpose(2, 3).reshape(-1, w * w, WIDTH)
        y = self.attention(y).view(n, s // w, s // w, w, w, WIDTH).transpose(2, 3).reshape(n, s, s, WIDTH)
        y = torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y
        x = x + y.view(n, s * s, WIDTH)
        return x + self.mlp(self.n2(x))


class _Swin(nn.Module):
    """Windows, and four positions merged into one by strided slices."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.blocks = nn.Conv2d(3, WIDTH, 2, 2), nn.Sequential(_SwinBlock(0), _SwinBlock(2))
        self.norm, self.merge = nn.LayerNorm(4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.last, self.head = Block(Attention()), nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.patches(x).flatten(2).transpose(1, 2)).view(-1, 8, 8, WIDTH)
        x = torch.cat([x[:, a::2, b::2] for b in (0, 1) for a in (0, 1)], 3).view(-1, 16, 4 * WIDTH)
        return self.head(self.last(self.merge(self.norm(x))).mean(1))


class _ConvNextBlock(nn.Module):
    """Depthwise, channels last, an MLP with response normalization, a scale for the layer."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.depth, self.norm = nn.Conv2d(c, c, 5, padding=2, groups=c), nn.LayerNorm(c)
        self.up, self.down, self.scale = nn.Linear(c, 3 * c), nn.Linear(3 * c, c), nn.Parameter(torch.ones(c))
        self.gamma, self.beta = nn.Parameter(torch.ones(3 * c)), nn.Parameter(torch.zeros(3 * c))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.gelu(self.up(self.norm(self.depth(x).permute(0, 2, 3, 1))))
        norm = y.square().sum((1, 2), keepdim=True).sqrt()
        y = self.gamma * (y * (norm / (norm.mean(-1, keepdim=True) + 1e-6))) + self.beta + y
        return x + (self.scale * self.down(y)).permute(0, 3, 1, 2)


class _ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 2, 2), _ConvNextBlock(16), nn.Conv2d(16, 24, 2, 2), _ConvNextBlock(24)
        )
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(x).mean((2, 3))))


class _Mixer(nn.Module):
    """An MLP over positions, then one over channels."""

    def __init__(self, places: int = 16) -> None:
        super().__init__()
        self.patches, self.n1, self.n2 = nn.Conv2d(3, WIDTH, 4, 4), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.across = nn.Sequential(nn.Linear(places, 24), nn.GELU(), nn.Linear(24, places))
        self.mlp, self.head = _mlp(), nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.across(self.n1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.mlp(self.n2(x))).mean(1))


class _Tagger(nn.Module):
    """Words through a recurrent layer, or two of them in both directions, to a tag each."""

    def __init__(self, kind: type[nn.RNNBase], layers: int = 1, *, both: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 16)
        self.memory = kind(16, 24, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(48 if both else 24, 7)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.memory(self.words(ids))[0])


class _Quartz(nn.Module):
    """Separable convolutions over time with a projected shortcut."""

    def __init__(self) -> None:
        super().__init__()

        def unit(i: int, o: int) -> list[nn.Module]:
            return [
                nn.Conv1d(i, i, 5, padding=2, groups=i, bias=False),
                nn.Conv1d(i, o, 1, bias=False),
                nn.BatchNorm1d(o),
            ]

        self.stem = nn.Sequential(nn.Conv1d(12, 16, 5, 2, 2, bias=False), nn.BatchNorm1d(16), nn.ReLU())
        self.body = nn.Sequential(*unit(16, 24), nn.ReLU(), *unit(24, 24))
        self.shortcut = nn.Sequential(nn.Conv1d(16, 24, 1, bias=False), nn.BatchNorm1d(24))
        self.head = nn.Conv1d(24, 9, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(F.relu(self.body(x) + self.shortcut(x))).log_softmax(1)


Make = Callable[[], nn.Module]
_TEXTS: dict[str, Make] = {
    "bert": _Bert,
    "gpt_tied": _Gpt,
    "llama": _Llama,
    "lstm_tagger": lambda: _Tagger(nn.LSTM),
    "bidirectional_gru": lambda: _Tagger(nn.GRU, 2, both=True),
}
_IMAGES: dict[str, Make] = {"vit": _Vit, "swin": _Swin, "convnext": _ConvNext, "mlp_mixer": _Mixer}
_LEGACY = ("llama", "lstm_tagger", "bidirectional_gru", "mlp_mixer", "quartznet")


def sequence_nets() -> list[Net]:
    """All of them."""
    nets = [_net(name, _on_words(make), {"ids": {0: "batch", 1: "length"}}) for name, make in _TEXTS.items()]
    nets += [_net(name, _on_images(make), {"x": {0: "batch"}}) for name, make in _IMAGES.items()]
    return [
        *nets,
        _net("quartznet", lambda: (_Quartz(), {"x": torch.randn(2, 12, 20)}), {"x": {0: "batch", 2: "time"}}),
    ]


def _net(name: str, build: Callable[[], tuple[nn.Module, Inputs]], free: dict[str, dict[int, str]]) -> Net:
    family = "recurrent" if name in ("lstm_tagger", "bidirectional_gru") else "transformer"
    family = "cnn" if name in ("quartznet", "convnext") else family
    return Net(name, build, family, free, ("legacy",) if name in _LEGACY else ("legacy", "dynamo"))


def _on_words(make: Make) -> Callable[[], tuple[nn.Module, Inputs]]:
    return lambda: (make(), {"ids": torch.randint(0, WORDS, (2, LENGTH))})


def _on_images(make: Make) -> Callable[[], tuple[nn.Module, Inputs]]:
    return lambda: (make(), {"x": torch.randn(2, 3, 16, 16)})
