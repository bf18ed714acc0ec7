"""What a serialized model says of its tensors, read off the proto: building the IR of 20,000 nodes takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from onnxcompress.runtime.batching import Dim

Description = tuple[str, tuple[Dim, ...] | None, ir.DataType | None]
"""A tensor's name, its dims where a shape is given, and its type where one is."""


def described(proto: onnx.ModelProto) -> Iterator[Description]:
    """Initializers and node outputs of every graph, body and function, in that order."""
    scopes: list[onnx.GraphProto | onnx.FunctionProto] = [proto.graph, *proto.functions]
    for scope in scopes:  # which grows by the bodies found
        types = {info.name: info.type for info in scope.value_info}
        if isinstance(scope, onnx.GraphProto):
            types.update({info.name: info.type for info in scope.output})
            for tensor in scope.initializer:
                yield tensor.name, tuple(tensor.dims), _kind(tensor.data_type)
        for node in scope.node:
            for name in node.output:
                yield (name, *_read(types[name])) if name in types else (name, None, None)
            scopes += [body for attribute in node.attribute for body in _bodies(attribute)]


def _bodies(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [attribute.g, *attribute.graphs] if attribute.HasField("g") else list(attribute.graphs)


def _read(kind: onnx.TypeProto) -> tuple[tuple[Dim, ...] | None, ir.DataType | None]:
    if kind.WhichOneof("value") != "tensor_type":
        return None, None
    tensor = kind.tensor_type
    dims = tuple(_dim(dim) for dim in tensor.shape.dim) if tensor.HasField("shape") else None
    return dims, _kind(tensor.elem_type)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    which = dim.WhichOneof("value")
    return None if which is None else (dim.dim_value if which == "dim_value" else dim.dim_param or None)


def _kind(number: int) -> ir.DataType | None:
    return ir.DataType(number) if number else None
