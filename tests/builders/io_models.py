"""Small models for the tests of reading and writing."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def matmul(size: int = 8, *, seed: int = 0) -> onnx.ModelProto:
    """y = x @ w with w of size x size."""
    weights = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        [info("x", 1, size)],
        [info("y", 1, size)],
        [numpy_helper.from_array(weights, "w")],
    )


def info(name: str, *dims: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 10,
    **fields: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers or [])
    fields.setdefault("opset_imports", [helper.make_opsetid("", opset)])
    return helper.make_model(graph, ir_version=ir_version, **fields)


def external(name: str, dims: list[int], *, kind: int = TensorProto.FLOAT, **entries: object) -> onnx.TensorProto:
    """A tensor that says its data lies outside; `entries` are written as they come."""
    tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def placements(tensor: onnx.TensorProto) -> dict[str, onnx.ModelProto]:
    """The same tensor in every kind of place that a model has for one; each model yields it as output y."""
    dims = list(tensor.dims)
    shape = [info("y", *dims, kind=tensor.data_type)]
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    identity = helper.make_node("Identity", ["c"], ["y"])
    inner = onnx.TensorProto()
    inner.CopyFrom(tensor)
    inner.name = "c"
    branch = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["b"])], "branch", [], [info("b", *dims, kind=tensor.data_type)], [inner]
    )
    function = helper.make_function(
        "local",
        "Weights",
        [],
        ["c"],
        [helper.make_node("Constant", [], ["c"], value=tensor)],
        [helper.make_opsetid("", 17)],
    )
    both = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    choice = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    return {
        "initializer": model([identity], [], shape, [inner]),
        "attribute": model([constant, identity], [], shape),
        "subgraph": model([choice], [], shape, [numpy_helper.from_array(np.array(True), "yes")]),
        "function": model(
            [helper.make_node("Weights", [], ["y"], domain="local")],
            [],
            shape,
            functions=[function],
            opset_imports=both,
        ),
    }
