"""Strides, pads and dilations of convolutions and pools, as ONNX counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxcompress.distill.ops.table import OpNode


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial axes.

    Attributes:
        kernel: Sizes.
        strides: Steps.
        dilations: Distances between the kernel's elements.
        begin: Pads before each axis.
        end: Pads after each axis (as ONNX gives them, without what ceil_mode adds).
        spill: What ceil_mode adds after each axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    spill: tuple[int, ...] = ()

    @staticmethod
    def of(node: OpNode, kernel: tuple[int, ...], *, transposed: bool = False) -> Window:
        """The window of `node` over its input 0."""
        rank = len(kernel)
        strides = tuple(int(v) for v in node.attr("strides") or [1] * rank)
        dilations = tuple(int(v) for v in node.attr("dilations") or [1] * rank)
        spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        sizes = node.shape()[2:]
        begin, end = _transposed_pads(node, sizes, spans, strides) if transposed else _pads(node, sizes, spans, strides)
        spill = tuple([0] * rank)
        if node.attr("ceil_mode", 0):
            spill = _spill(sizes, spans, strides, begin, end)
        return Window(tuple(kernel), strides, dilations, begin, end, spill)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    def symmetric_pads(self) -> list[int] | None:
        """The pads where both sides are alike and nothing spills over; None elsewhere."""
        return list(self.begin) if self.begin == self.end and not any(self.spill) else None

    def torch_pads(self, *, spill: bool = True) -> list[int]:
        """The pads as `torch.nn.functional.pad` takes them: last axis first."""
        extra = self.spill if spill and self.spill else (0,) * self.rank
        sides = [(b, e + s) for b, e, s in zip(self.begin, self.end, extra, strict=True)]
        return [v for side in reversed(sides) for v in side]


_Pads = tuple[tuple[int, ...], tuple[int, ...]]


def _explicit(node: OpNode, rank: int) -> _Pads:
    pads = [int(v) for v in node.attr("pads") or [0] * (2 * rank)]
    return tuple(pads[:rank]), tuple(pads[rank:])


def _same(node: OpNode, totals: list[int]) -> _Pads:
    small = [t // 2 if t > 0 else t for t in totals]
    large = [t - s for t, s in zip(totals, small, strict=True)]
    upper = node.attr("auto_pad") == "SAME_UPPER"
    return (tuple(small), tuple(large)) if upper else (tuple(large), tuple(small))


def _pads(node: OpNode, sizes: tuple[int, ...], spans: list[int], strides: tuple[int, ...]) -> _Pads:
    if node.attr("auto_pad", "NOTSET") not in ("SAME_UPPER", "SAME_LOWER"):
        return _explicit(node, len(spans))
    needed = [
        max(0, (math.ceil(size / stride) - 1) * stride + span - size)
        for size, span, stride in zip(sizes, spans, strides, strict=True)
    ]
    return _same(node, needed)


def _transposed_pads(node: OpNode, sizes: tuple[int, ...], spans: list[int], strides: tuple[int, ...]) -> _Pads:
    rank = len(spans)
    extra = [int(v) for v in node.attr("output_padding") or [0] * rank]
    wanted = node.attr("output_shape")
    same = node.attr("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    if wanted is None and not same:
        return _explicit(node, rank)
    goal = (
        [int(v) for v in wanted][-rank:] if wanted is not None else [s * t for s, t in zip(sizes, strides, strict=True)]
    )
    full = [(n - 1) * s + e + span for n, s, e, span in zip(sizes, strides, extra, spans, strict=True)]
    totals = [f - g for f, g in zip(full, goal, strict=True)]
    begin, end = _same(node, totals)
    return begin, end


def _spill(
    sizes: tuple[int, ...], spans: list[int], strides: tuple[int, ...], begin: tuple[int, ...], end: tuple[int, ...]
) -> tuple[int, ...]:
    """Extra room at the end so that floor division gives the ceil_mode size; a window never starts beyond the pad."""
    extra: list[int] = []
    for size, span, stride, b, e in zip(sizes, spans, strides, begin, end, strict=True):
        count = math.ceil((size + b + e - span) / stride) + 1
        if (count - 1) * stride >= size + b:
            count -= 1
        extra.append(max(0, (count - 1) * stride + span - (size + b + e)))
    return tuple(extra)
