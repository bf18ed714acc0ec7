"""A learned linear map of channels: a 1x1 convolution, or a linear layer of tokens.

It is the regressor of FitNets (Romero et al. 2014, 1412.6550).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf

# Rows that the start is fitted to at most, and the share of the mean square that holds the fit in check.
_ROWS = 8192
_RIDGE = 1e-3


@dataclass(frozen=True)
class Projection:
    """y = W x + b along one axis.

    Attributes:
        weight: W, [out, in].
        bias: b.
    """

    weight: torch.nn.Parameter
    bias: torch.nn.Parameter

    def __call__(self, tensor: torch.Tensor, axis: int) -> torch.Tensor:
        """`tensor` mapped along `axis`."""
        return nnf.linear(tensor.movedim(axis, -1), self.weight, self.bias).movedim(-1, axis)

    def parameters(self) -> list[torch.nn.Parameter]:
        """W and b."""
        return [self.weight, self.bias]


def fitted(given: torch.Tensor, wanted: torch.Tensor) -> Projection:
    """The projection of rows `given` [n, in] that comes closest to rows `wanted` [n, out]: ridge regression.

    W = Y^T X (X^T X + r I)^-1 of centred X and Y, r a thousandth of the mean diagonal.
    """
    x, y = given.double(), wanted.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    square = (x - mean_x).T @ (x - mean_x)
    ridge = _RIDGE * square.diagonal().mean() + 1e-12
    inverse = torch.linalg.solve(
        square + ridge * torch.eye(len(square), dtype=x.dtype, device=x.device), (x - mean_x).T
    )
    weight = (inverse @ (y - mean_y)).T
    bias = mean_y - weight @ mean_x
    return Projection(torch.nn.Parameter(weight.to(given.dtype)), torch.nn.Parameter(bias.to(given.dtype)))


def rows(tensors: Iterable[torch.Tensor], axis: int) -> torch.Tensor:
    """Vectors along `axis` at evenly spaced positions of all tensors, one a row."""
    found = [t.detach().movedim(axis, -1).flatten(0, -2) for t in tensors]
    every = torch.cat(found)
    return every[:: max(1, -(-len(every) // _ROWS))]


def pooled(tensor: torch.Tensor, axis: int, sizes: torch.Size) -> torch.Tensor:
    """A picture (channels along axis 1) averaged down to the smaller of its own and `sizes`; others as they are."""
    if axis != 1 or tensor.ndim not in (3, 4, 5) or tensor.shape[2:] == sizes[2:]:
        return tensor
    target = (min(a, b) for a, b in zip(tensor.shape[2:], sizes[2:], strict=True))
    pools = {3: torch.nn.AdaptiveAvgPool1d, 4: torch.nn.AdaptiveAvgPool2d, 5: torch.nn.AdaptiveAvgPool3d}
    return pools[tensor.ndim](tuple(target))(tensor)
