"""Q and DQ with a straight-through gradient; the integer grid is carried as floating-point numbers.

    Q(x)  = clamp(round(x / s) + z, low, high)      dQ/dx  = 1/s, dQ/ds = -x/s^2 inside the range, 0 outside
    DQ(q) = (q - z) s

Both together give the scale the gradient of learned step sizes (LSQ, Esser et al. 2019, arXiv 1902.08153): q - z - x/s
inside the range, and the bound q - z outside.

Rounding is half to even, as in ONNX. Every integer up to 2^24 is exact in float32, so the round trip of 4-, 8- and
16-bit grids is bit-exact, and Q and DQ need not be neighbours (MaxPool, Reshape, Transpose keep the grid).
"""

from __future__ import annotations

from typing import Any

import torch


class _RoundToGrid(torch.autograd.Function):
    """clamp(round(x / s) + z) with the straight-through gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, low: int, high: int
    ) -> torch.Tensor:
        """The grid index of each element."""
        index = torch.round(x / scale) + zero
        ctx.save_for_backward((index >= low) & (index <= high), x, scale)
        return index.clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """The gradient passes inside the range."""
        inside, x, scale = ctx.saved_tensors
        passed = gradients[0] * inside / scale
        steps = (-passed * x / scale).sum_to_size(scale.shape) if ctx.needs_input_grad[1] else None
        return passed if ctx.needs_input_grad[0] else None, steps, None, None, None


def to_grid(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Grid indices of `x` as floats; `scale` and `zero` broadcast against `x`."""
    return _RoundToGrid.apply(x, scale, zero, low, high)


def from_grid(index: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """Values of grid indices."""
    return (index - zero) * scale


def grown(start: torch.Tensor, growth: torch.Tensor) -> torch.Tensor:
    """The scale ``start * exp(growth)``: never negative, and exactly `start` where nothing was learned."""
    return start * growth.exp()


ROWS = -1
"""In place of a block's size: the tensor's last axis is one block."""


def along(parameter: torch.Tensor, shape: tuple[int, ...], axis: int, block: int = 0) -> torch.Tensor:
    """A scale or zero point laid out to broadcast against a tensor of `shape`: per tensor, per axis or per block.

    One that has as many axes as the tensor, and no blocks, is laid out already.
    """
    if parameter.numel() == 1:
        return parameter.reshape(())
    if block == ROWS:
        return parameter.reshape(*shape[:-1], 1)
    if not block and parameter.ndim == len(shape):
        return parameter
    if block:
        wide = torch.repeat_interleave(parameter, block, axis)
        return torch.narrow(wide, axis, 0, shape[axis])
    return parameter.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
