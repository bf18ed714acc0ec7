"""The tensors of an IR model: visit them, replace them, stream their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING

from onnxcompress.model_io.settle import bodies

if TYPE_CHECKING:
    import onnx_ir as ir

CHUNK_BYTES = 8 << 20


def replace_tensors(model: ir.Model, change: Callable[[ir.TensorProtocol], ir.TensorProtocol]) -> int:
    """Put ``change(tensor)`` in the place of every tensor of the model, in place.

    Visited in a fixed order: body by body, initializers first, then the attributes of the nodes, then the defaults
    of function attributes.

    Returns:
        How many tensors were changed (a result that is the same object counts as unchanged).
    """
    changed = 0
    for body in bodies(model):
        for value in body.initializers.values():
            if value.const_value is not None:
                new = change(value.const_value)
                changed += new is not value.const_value
                value.const_value = new
        for node in body:
            changed += _replace_in(node.attributes, change)
    return changed + sum(_replace_in(function.attributes, change) for function in model.functions.values())


def _replace_in(
    attributes: MutableMapping[str, ir.Attr], change: Callable[[ir.TensorProtocol], ir.TensorProtocol]
) -> int:
    import onnx_ir as ir

    changed = 0
    for name, attribute in list(attributes.items()):
        if attribute.is_ref() or attribute.value is None:
            continue
        if attribute.type == ir.AttributeType.TENSOR:
            old = [attribute.as_tensor()]
        elif attribute.type == ir.AttributeType.TENSORS:
            old = list(attribute.as_tensors())
        else:
            continue
        new = [change(tensor) for tensor in old]
        here = sum(a is not b for a, b in zip(old, new, strict=True))
        if here:
            value = new[0] if attribute.type == ir.AttributeType.TENSOR else new
            attributes[name] = ir.Attr(name, attribute.type, value, doc_string=attribute.doc_string)
        changed += here
    return changed


def iter_tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Every tensor of the model, in the order of `replace_tensors`."""
    found: list[ir.TensorProtocol] = []

    def note(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        found.append(tensor)
        return tensor

    replace_tensors(model, note)
    yield from found


def chunks(tensor: ir.TensorProtocol) -> Iterator[bytes | memoryview]:
    """The tensor's bytes as ONNX stores them, in pieces; a mapped tensor is not copied.

    Not for text tensors, which have no such form.
    """
    import numpy as np
    import onnx_ir as ir

    if isinstance(tensor, ir.Tensor) and tensor.dtype.bitwidth >= 8:
        array = tensor.numpy()
        if array.flags.c_contiguous and array.dtype == array.dtype.newbyteorder("<"):
            view = array.reshape(-1).view(np.uint8).data
            yield from (view[start : start + CHUNK_BYTES] for start in range(0, len(view), CHUNK_BYTES))
            return
    yield tensor.tobytes()


def is_text(tensor: ir.TensorProtocol) -> bool:
    """True for a tensor of strings."""
    import onnx_ir as ir

    return tensor.dtype == ir.DataType.STRING


def reference(tensor: ir.TensorProtocol, location: str, offset: int | None, length: int | None) -> ir.TensorProtocol:
    """A stand-in for `tensor` whose bytes are to be found at `location`; all else is the same."""
    import onnx_ir as ir

    return ir.ExternalTensor(
        location,
        offset,
        length,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name or "",
        doc_string=tensor.doc_string or None,
        metadata_props=dict(tensor.metadata_props) or None,
    )
