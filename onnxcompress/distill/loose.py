"""Nodes whose sizes the samples decide, such as the tokens that a router sends to an expert.

NonZero finds as many positions as there are. It and what it feeds are recorded as they stand, and each step looks at
the sizes and numbers of its inputs whenever it runs, as an interpreter would, until a scatter puts what was found back
into a tensor of known sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from onnxcompress.distill.ops import OpFunction, OpNode
from onnxcompress.distill.tape import Slot, Tape

SOURCES = frozenset({"NonZero", "Compress", "NonMaxSuppression"})
"""Op types that make sizes out of numbers."""
_AS_FIRST = frozenset({"ScatterElements", "ScatterND"})
"""Op types whose output has the sizes of their first input."""

Step = Callable[..., tuple[Any, ...]]


def is_late(op_type: str, slots: Sequence[Slot | None]) -> bool:
    """True for a node that must look at its inputs when it runs."""
    known = all(slot is None or slot.constant for slot in slots)
    return not known and (op_type in SOURCES or any(slot is not None and slot.loose for slot in slots))


def is_loose(op_type: str, slots: Sequence[Slot | None]) -> bool:
    """True where the samples decide the sizes of what a node makes."""
    first = slots[0] if slots else None
    held = op_type in _AS_FIRST and first is not None and not first.loose
    return is_late(op_type, slots) and not held


def at_run_time(function: OpFunction, view: OpNode) -> Step:
    """`function` as a step that takes tensors and looks at them when it is called."""

    def loose(*inputs: torch.Tensor | None) -> tuple[Any, ...]:
        seen = replace(
            view,
            shapes=tuple(None if x is None else tuple(x.shape) for x in inputs),
            dtypes=tuple(None if x is None else x.dtype for x in inputs),
            constants=inputs,
        )
        made = function(seen, *inputs)
        return tuple(made) if isinstance(made, tuple | list) else (made,)

    return loose


def record(tape: Tape, step: Step, proxies: list[Any], count: int) -> tuple[Any, ...]:
    """One step on the tape, and its `count` outputs."""
    whole = tape.call(step, *proxies)
    return tuple(whole[i] for i in range(count))


def size(node: OpNode, _x: Any) -> torch.Tensor:
    """Shape (of some axes) or Size of a tensor, as it is at that moment."""
    shape = node.shape(0)
    if node.op_type == "Size":
        return torch.tensor(torch.Size(shape).numel(), dtype=torch.int64)
    return torch.tensor(shape[node.attr("start", 0) : node.attr("end")], dtype=torch.int64)
