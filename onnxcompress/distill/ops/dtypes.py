"""ONNX element types in torch: float32 carries all smaller floats, so that training has one precision."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.errors import ModelError

_D = ir.DataType
TORCH_OF: dict[int, torch.dtype] = {
    _D.FLOAT: torch.float32,
    _D.FLOAT16: torch.float32,
    _D.BFLOAT16: torch.float32,
    _D.DOUBLE: torch.float64,
    _D.BOOL: torch.bool,
    _D.INT8: torch.int8,
    _D.INT16: torch.int16,
    _D.INT32: torch.int32,
    _D.INT64: torch.int64,
    _D.UINT8: torch.uint8,
    _D.UINT16: torch.int32,
    _D.UINT32: torch.int64,
    _D.UINT64: torch.int64,
    _D.INT4: torch.int8,
    _D.UINT4: torch.uint8,
}
QUANT_RANGE: dict[int, tuple[int, int]] = {
    _D.INT4: (-8, 7),
    _D.UINT4: (0, 15),
    _D.INT8: (-128, 127),
    _D.UINT8: (0, 255),
    _D.INT16: (-(2**15), 2**15 - 1),
    _D.UINT16: (0, 2**16 - 1),
    _D.INT32: (-(2**31), 2**31 - 1),
}


def to_torch(array: np.ndarray) -> torch.Tensor:
    """A tensor that owns its numbers, in the type that the bridge computes with.

    Raises:
        ModelError: Where torch has no such type.
    """
    kind = ir.DataType.from_numpy(array.dtype)
    target = TORCH_OF.get(kind)
    if target is None:
        hint = "Cut the model before the nodes that use it."
        why = f"it holds a tensor of type {kind.name}, which torch cannot compute with"
        raise ModelError("cannot train the model", why=why, hint=hint, code="MODEL-DISTILL-TYPE")
    plain = {torch.float32: np.float32, torch.int32: np.int32, torch.int64: np.int64}.get(target)
    if kind == _D.INT4:
        plain = np.int8
    if kind == _D.UINT4:
        plain = np.uint8
    return torch.as_tensor(np.array(array, dtype=plain or array.dtype, order="C"))
