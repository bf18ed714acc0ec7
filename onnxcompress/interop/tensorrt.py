"""The command line that builds a TensorRT engine from a compressed model.

For TensorRT 11 and newer: networks are strongly typed, so the precision of every layer is what the ONNX file says
(Q/DQ nodes, float16 tensors); the flags that used to choose it (--int8, --fp16, --best, --calib) are gone.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from onnxcompress.errors import UsageError

if TYPE_CHECKING:
    import onnx_ir as ir

# The batch that the engine is tuned for, and the largest it takes, where --shape says nothing.
_OPT_BATCH, _MAX_BATCH = 1, 8


def trtexec_command(
    model_path: str | os.PathLike[str],
    model: ir.Model,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    sparse: bool = False,
) -> str:
    """One line for a POSIX shell that builds an engine next to the model.

    Args:
        model_path: The ONNX file.
        model: The same model in memory; tells which inputs are dynamic.
        shapes: Sizes of dynamic inputs by name; the engine is tuned for these and takes none larger, but for the
            batch where that is 1.
        sparse: Let TensorRT choose kernels for weights of the pattern 2:4.

    Raises:
        UsageError: Where an axis other than the batch is dynamic and `shapes` does not say its size.
    """
    path = Path(model_path)
    words = ["trtexec", f"--onnx={path}", f"--saveEngine={path.with_suffix('.engine')}"]
    dynamic = [value for value in model.graph.inputs if _is_dynamic(value)]
    profile = [_ranges(value, (shapes or {}).get(value.name or "")) for value in dynamic]
    if profile:
        for flag, sizes in zip(("--minShapes", "--optShapes", "--maxShapes"), zip(*profile, strict=True), strict=True):
            words.append(f"{flag}={','.join(sizes)}")
    return shlex.join([*words, "--sparsity=enable"] if sparse else words)


def _is_dynamic(value: ir.Value) -> bool:
    return value.shape is None or any(not isinstance(d, int) for d in value.shape)


def _ranges(value: ir.Value, wanted: tuple[int, ...] | None) -> tuple[str, str, str]:
    """The smallest, usual and largest sizes of one input, as ``name:1x3x224x224``."""
    dims: list[int | None] = [d if isinstance(d, int) else None for d in value.shape or wanted or ()]
    usual = list(wanted) if wanted else [_OPT_BATCH if d is None and n == 0 else d for n, d in enumerate(dims)]
    if not dims or None in usual or len(usual) != len(dims):
        raise UsageError(
            "cannot write the trtexec command",
            where=f"input {value.name}",
            why="TensorRT needs a size for each dynamic axis, and this model leaves open more than the batch",
            hint=f"Give --shape {value.name}:1x3x224x224 with your sizes.",
            code="USAGE-SHAPE-NEEDED",
        )
    sizes = [int(d) for d in usual if d is not None]
    least = [size if d is not None else 1 for d, size in zip(dims, sizes, strict=True)]
    most = [max(sizes[0], _MAX_BATCH) if dims[0] is None else sizes[0], *sizes[1:]]
    return _spell(value, least), _spell(value, sizes), _spell(value, most)


def _spell(value: ir.Value, sizes: list[int]) -> str:
    return f"{value.name}:{'x'.join(map(str, sizes)) or '1'}"
