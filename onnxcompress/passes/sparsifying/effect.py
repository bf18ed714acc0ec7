"""What the zeros are worth: how small the weights become when the file is zipped."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import constant_node_tensor, scopes

_CHUNK = 1 << 20


def tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Every stored tensor: initializers of every scope, and what Constant nodes hold."""
    for scope in scopes(model):
        if isinstance(scope, ir.Graph):
            yield from (v.const_value for v in scope.initializers.values() if v.const_value is not None)
        found = (constant_node_tensor(node) for node in scope if node.op_type == "Constant")
        yield from (tensor for tensor in found if tensor is not None)


def zipped(stored: Iterable[ir.TensorProtocol]) -> int:
    """Bytes of the tensors, each deflated by itself as zip does by default; a chunk at a time."""
    return sum(_deflated(tensor) for tensor in stored if tensor.dtype != ir.DataType.STRING)


def _deflated(tensor: ir.TensorProtocol) -> int:
    raw = _bytes(tensor)
    packer = zlib.compressobj(6)
    size = sum(len(packer.compress(raw[start : start + _CHUNK])) for start in range(0, len(raw), _CHUNK))
    return size + len(packer.flush())


def _bytes(tensor: ir.TensorProtocol) -> bytes | memoryview:
    """The stored bytes, without a copy where the type fills whole bytes."""
    if tensor.dtype.bitwidth < 8:
        return tensor.tobytes()
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data
