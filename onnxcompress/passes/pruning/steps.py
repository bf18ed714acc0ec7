"""How many channels a cell may give: what the multiples of the target, the floor and the user's floor leave over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.targets import Target

_NARROW = 4
"""A cell of fewer steps than this is left out of the rounding: one step more or less would defeat the request."""


@dataclass(frozen=True)
class Floor:
    """What stays of every cell at least: a number of channels, and a fraction of them."""

    channels: int = 1
    share: float = 0.0

    def kept(self, cell: Cell) -> int:
        """Fewest columns that stay."""
        return max(1, -(-self.channels // cell.channels), math.ceil(self.share * cell.width - 1e-9))


def stops(cell: Cell, multiple: int, floor: Floor, *, strict: bool = False) -> np.ndarray:
    """The numbers of columns that `cell` may give, ascending, 0 first.

    Args:
        cell: The cell.
        multiple: Kept channels come to a multiple of this, all that a column stands for together.
        floor: What stays at least.
        strict: Also where the cell is narrower than four such steps.
    """
    most = max(0, min(cell.order.shape[1], cell.width - floor.kept(cell)))
    step = step_of(cell, multiple, strict=strict)
    kept = np.arange(cell.width - cell.width % step, 0, -step)
    counts = np.union1d([0], cell.width - kept)
    return counts[counts <= most].astype(np.int64)


def step_of(cell: Cell, multiple: int, *, strict: bool = False) -> int:
    """Columns between two stops: 1 where the cell is too narrow for `multiple`."""
    step = multiple // math.gcd(multiple, cell.channels)
    return step if strict or cell.width >= _NARROW * step else 1


def multiples(cells: Sequence[Cell], target: Target) -> list[int]:
    """What the target likes for each cell: the least common multiple over the operators that make its channels."""
    return [math.lcm(*(target.multiple_of(*_kind(p.node)) for p in cell.producers)) for cell in cells]


def _kind(node: ir.Node) -> tuple[str, str]:
    """The operator, and the type that its weight is stored in (behind a DequantizeLinear too)."""
    value = node.inputs[1] if len(node.inputs) > 1 else None
    maker = None if value is None else value.producer()
    if maker is not None and maker.op_type == "DequantizeLinear":
        value = maker.inputs[0]
    kind = None if value is None else value.dtype
    return node.op_type, "" if kind is None else kind.name.lower()
