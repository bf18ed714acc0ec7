"""Interface: a compressed model is a drop-in replacement, so names, types, ranks and sizes must not move.

Output axes that the user freed are the exception: they are as long as the positions that are left of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from onnxcompress.runtime import dims_of, real_inputs
from onnxcompress.runtime.batching import Dim
from onnxcompress.verify.failure import VerifyFailure
from onnxcompress.verify.freed import left


def check_interface(before: ir.Model, after: ir.Model) -> None:
    """Compare inputs and outputs: names in order, data types, ranks, fixed sizes, names of free axes.

    An output axis that was freed has to be as long as what is left of it.

    Raises:
        VerifyFailure: Naming the first input or output that differs.
    """
    _compare("input", real_inputs(before), real_inputs(after), {})
    sizes = {n: {a: len(at) for a, at in axes.items()} for n, axes in left(before, after).items()}
    _compare("output", list(before.graph.outputs), list(after.graph.outputs), sizes)


def _compare(
    kind: str, before: Sequence[ir.Value], after: Sequence[ir.Value], sizes: Mapping[str, Mapping[int, int]]
) -> None:
    old, new = [value.name for value in before], [value.name for value in after]
    if old != new:
        gone = [str(name) for name in old if name not in new]
        come = [str(name) for name in new if name not in old]
        why = f"lost {', '.join(gone) or 'none'}, gained {', '.join(come) or 'none'}, order {old} became {new}"
        raise _failure(f"the {kind}s", why, "VERIFY-NAMES")
    for first, second in zip(before, after, strict=True):
        where = f"{kind} {first.name}"
        if first.dtype is not None and first.dtype != second.dtype:
            raise _failure(where, f"its type {first.dtype} became {second.dtype}", "VERIFY-DTYPE")
        _compare_dims(where, _resized(dims_of(first), sizes.get(first.name or "", {})), dims_of(second))


def _resized(dims: tuple[Dim, ...] | None, sizes: Mapping[int, int]) -> tuple[Dim, ...] | None:
    if dims is None:
        return None
    return tuple(sizes.get(a, dim) if isinstance(dim, int) else dim for a, dim in enumerate(dims))


def _compare_dims(where: str, before: tuple[Dim, ...] | None, after: tuple[Dim, ...] | None) -> None:
    if before is None:
        return
    if after is None or len(before) != len(after):
        raise _failure(where, f"its shape {_shown(before)} became {_shown(after)}", "VERIFY-RANK")
    if any(old is not None and old != new for old, new in zip(before, after, strict=True)):
        raise _failure(where, f"its shape {_shown(before)} became {_shown(after)}", "VERIFY-DIMS")


def _shown(dims: tuple[Dim, ...] | None) -> str:
    return "unknown" if dims is None else "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"


def _failure(where: str, why: str, code: str) -> VerifyFailure:
    hint = "Please report it with the model."
    return VerifyFailure("the result has another interface than the model", where=where, why=why, hint=hint, code=code)
