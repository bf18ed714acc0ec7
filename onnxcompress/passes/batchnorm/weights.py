"""New contents for one reader's weights, in place where it is the only reader and as a copy where it is not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, fresh_name, tensor_of
from onnxcompress.passes.batchnorm.affine import LeftAlone

_FLOATS = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE}


def floats_of(value: ir.Value | None, what: str) -> np.ndarray:
    """The numbers of a constant float tensor, as float64.

    Raises:
        LeftAlone: Where it is not constant or not float.
    """
    tensor = tensor_of(value)
    if tensor is None or tensor.dtype not in _FLOATS:
        raise LeftAlone("FOLD-NOT-CONSTANT", f"the {what} are not constant floats")
    return np.asarray(tensor.numpy(), dtype=np.float64)


def rounded(array: np.ndarray, like: ir.Value | None) -> ir.TensorProtocol:
    """`array` in the element type of the constant `like`.

    Raises:
        LeftAlone: Where a finite number does not fit that type.
    """
    model = tensor_of(like)
    assert model is not None
    with np.errstate(over="ignore"):
        narrow = array.astype(model.dtype.numpy())
    if not np.all(np.isfinite(narrow.astype(np.float64))):
        raise LeftAlone("FOLD-OVERFLOW", f"the folded weights do not fit {model.dtype.name.lower()}")
    return ir.tensor(narrow, dtype=model.dtype)


def put(node: ir.Node, index: int, tensor: ir.TensorProtocol, graph: ir.Graph, names: set[str], base: str) -> None:
    """Let input `index` of `node` be `tensor`.

    Args:
        node: The reader.
        index: Which of its inputs; it may be absent yet.
        tensor: The new contents.
        graph: Where a new initializer goes.
        names: Names in use; a new one is added.
        base: What a new initializer is called where there is none to name it after.
    """
    old = node.inputs[index] if index < len(node.inputs) else None
    if old is not None and old.is_initializer() and len(old.uses()) == 1 and not old.is_graph_output():
        old.const_value = _named(tensor, old.name or "")
        old.shape = ir.Shape(tensor.shape.numpy())
        return
    new = add_initializer(graph, fresh_name(names, (old.name if old is not None else "") or base), tensor)
    new.const_value = _named(tensor, new.name or "")
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, new)


def _named(tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
    tensor.name = name
    return tensor
