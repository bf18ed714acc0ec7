"""What onnx-graphsurgeon cannot carry, found before it gets the model.

Measured on gs 0.6.1: some of these make its exporter raise, the others come out changed or missing without a word.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxcompress.errors import ModelError
from onnxcompress.graph import iter_nodes, scopes

_LOST_TYPES = {
    ir.DataType.INT4,
    ir.DataType.UINT4,
    ir.DataType.INT2,
    ir.DataType.UINT2,
    ir.DataType.FLOAT4E2M1,
    ir.DataType.FLOAT8E4M3FNUZ,
    ir.DataType.FLOAT8E5M2FNUZ,
    ir.DataType.FLOAT8E8M0,
}
_LOST_ATTRIBUTES = {
    ir.AttributeType.TENSORS,
    ir.AttributeType.GRAPHS,
    ir.AttributeType.TYPE_PROTO,
    ir.AttributeType.TYPE_PROTOS,
    ir.AttributeType.SPARSE_TENSOR,
    ir.AttributeType.SPARSE_TENSORS,
}
_LISTS = {ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS}
# One protobuf message, which is what gs reads, ends at 2 GiB.
_MOST_BYTES = 2_000_000_000


def require_carriable(model: ir.Model) -> None:
    """Refuse a model that would come back from onnx-graphsurgeon as another one.

    Raises:
        ModelError: With code ``INTEROP-GRAPHSURGEON``, naming the first thing that would be lost.
    """
    for where, why in _losses(model):
        raise ModelError(
            "onnx-graphsurgeon cannot carry this model",
            where=where,
            why=why,
            hint="Write the surgery as a pass over onnx_ir (docs/writing-a-pass.md), or run it before quantization.",
            code="INTEROP-GRAPHSURGEON",
        )


def _losses(model: ir.Model) -> Iterator[tuple[str, str]]:
    """Pairs of place and reason."""
    if model.functions:
        yield str(next(iter(model.functions.values())).name), "local functions lose their types and metadata"
    if model.device_configurations:
        yield "the model", "device configurations are dropped"
    yield from _lost_values(model)
    for node in iter_nodes(model):
        yield from ((node.name or node.op_type, why) for why in _lost_in(node))


def _lost_values(model: ir.Model) -> Iterator[tuple[str, str]]:
    size = 0
    for scope in scopes(model):
        made = [value for node in scope for value in node.outputs]
        held = list(scope.initializers.values()) if isinstance(scope, ir.Graph) else []
        for value in [*scope.inputs, *made, *held]:
            if value.dtype in _LOST_TYPES:
                yield value.name or "", f"tensors of type {value.dtype} come out damaged"
            if isinstance(value.type, ir.OptionalType):
                yield value.name or "", "optional types make its importer fail"
        size += sum(v.const_value.nbytes for v in held if v.const_value is not None and not _is_text(v.const_value))
    if size > _MOST_BYTES:
        yield "the weights", f"they hold {size} bytes, and it reads models of up to 2 GB"


def _is_text(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype.is_string()


def _lost_in(node: ir.Node) -> Iterator[str]:
    if node.overload:
        yield "the overload of an operator is dropped"
    if node.device_configurations:
        yield "device configurations are dropped"
    for attribute in node.attributes.values():
        if attribute.is_ref():
            yield f"the attribute {attribute.name} refers to a function's own"
        elif attribute.type in _LOST_ATTRIBUTES:
            yield f"the attribute {attribute.name} of type {attribute.type.name} is dropped"
        elif attribute.type in _LISTS and len(attribute.value) == 0:
            yield f"the attribute {attribute.name} is an empty list, whose type it cannot tell"
        elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in _LOST_TYPES:
            yield f"the attribute {attribute.name} holds a tensor of type {attribute.as_tensor().dtype}"
