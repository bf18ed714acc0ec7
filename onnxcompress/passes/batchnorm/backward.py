"""A normalization after a linear node: s (W x + b) + t = (s W) x + (s b + t)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, attribute, fresh_name, is_constant
from onnxcompress.passes.batchnorm.affine import Affine, LeftAlone
from onnxcompress.passes.batchnorm.weights import floats_of, put, rounded


def fold_into_producer(node: ir.Node, producer: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> str:
    """Fold `node` into `producer`; the producer then yields what `node` did. `node` itself is left for the caller.

    Returns:
        The producer's name.

    Raises:
        LeftAlone: Where that would change a number.
    """
    middle, result = producer.outputs[0], node.outputs[0]
    if len(middle.uses()) != 1 or middle.is_graph_output():
        raise LeftAlone("FOLD-SHARED-OUTPUT", f"the output of {_place(producer)} is read elsewhere as well")
    FOLDS[producer.op_type](node, producer, graph, affine, names)
    if producer.op_type != "MatMul":
        _take_over(middle, result)
    return _place(producer)


def _fold_conv(node: ir.Node, conv: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> None:
    weights = floats_of(conv.inputs[1], "weights")
    _require_channels(weights.shape[0], affine)
    scaled = weights * affine.scale.reshape(-1, *[1] * (weights.ndim - 1))
    _store(conv, scaled, _bias(conv, affine), graph, names)


def _fold_conv_transpose(node: ir.Node, conv: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> None:
    weights, groups = floats_of(conv.inputs[1], "weights"), attribute(conv, "group", 1)
    inputs, per_group, *kernel = weights.shape
    _require_channels(groups * per_group, affine)
    by_group = weights.reshape(groups, inputs // groups, per_group, -1)
    scaled = by_group * affine.scale.reshape(groups, 1, per_group, 1)
    _store(conv, scaled.reshape(inputs, per_group, *kernel), _bias(conv, affine), graph, names)


def _fold_gemm(node: ir.Node, gemm: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> None:
    weights = floats_of(gemm.inputs[1], "weights")
    transposed = bool(attribute(gemm, "transB", 0))
    _require_channels(weights.shape[0 if transposed else 1], affine)
    scaled = weights * (affine.scale[:, None] if transposed else affine.scale)
    bias = _bias(gemm, affine, factor=float(attribute(gemm, "beta", 1.0)))
    _store(gemm, scaled, bias, graph, names)
    gemm.attributes.pop("beta", None)


def _fold_matmul(node: ir.Node, matmul: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> None:
    like = matmul.inputs[1]
    scaled, shift = rounded(_scaled_columns(node, matmul, affine), like), rounded(affine.shift, like)
    put(matmul, 1, scaled, graph, names, "weights")
    _add_shift(node, matmul, graph, shift, names)


def _scaled_columns(node: ir.Node, matmul: ir.Node, affine: Affine) -> np.ndarray:
    weights = floats_of(matmul.inputs[1], "weights")
    if weights.ndim != 2 or _rank(node) != 2:
        raise LeftAlone("FOLD-RANK", "the normalized axis is the product's columns only where the product is a matrix")
    _require_channels(weights.shape[1], affine)
    return weights * affine.scale


def _add_shift(node: ir.Node, matmul: ir.Node, graph: ir.Graph, shift: ir.TensorProtocol, names: set[str]) -> None:
    """An Add takes the place of the normalization; the product, now scaled, gives up its name."""
    result, middle = node.outputs[0], matmul.outputs[0]
    middle.name = fresh_name(names, f"{result.name}_scaled")
    bias = add_initializer(graph, fresh_name(names, f"{result.name}_bias"), shift)
    out = ir.Value(name=result.name)
    add = ir.Node("", "Add", [middle, bias], outputs=[out], name=node.name)
    graph.insert_before(node, add)
    _take_over(out, result)


def _fold_biased_matmul(node: ir.Node, add: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> None:
    """MatMul, then Add of a constant, then the normalization."""
    side = next((n for n, v in enumerate(add.inputs) if is_constant(v)), None)
    product = None if side is None else add.inputs[1 - side]
    matmul = None if product is None else product.producer()
    if side is None or product is None or matmul is None or matmul.op_type != "MatMul" or matmul.graph is not graph:
        raise LeftAlone("FOLD-NO-PARTNER", "the sum before it is not a matrix product with a constant bias")
    if len(product.uses()) != 1 or product.is_graph_output():
        raise LeftAlone("FOLD-SHARED-OUTPUT", f"the output of {_place(matmul)} is read elsewhere as well")
    scaled, like = _scaled_columns(node, matmul, affine), matmul.inputs[1]
    bias = affine.scale * floats_of(add.inputs[side], "biases") + affine.shift
    new_weights, new_bias = rounded(scaled, like), rounded(bias, like)
    put(matmul, 1, new_weights, graph, names, "weights")
    put(add, side, new_bias, graph, names, "bias")
    product.name = fresh_name(names, f"{node.outputs[0].name}_scaled")


FOLDS: dict[str, Callable[[ir.Node, ir.Node, ir.Graph, Affine, set[str]], None]] = {
    "Conv": _fold_conv,
    "ConvTranspose": _fold_conv_transpose,
    "Gemm": _fold_gemm,
    "MatMul": _fold_matmul,
    "Add": _fold_biased_matmul,
}


def _bias(node: ir.Node, affine: Affine, factor: float = 1.0) -> np.ndarray:
    """The new bias s b + t, for one that may be absent; `factor` is what the node multiplies its bias by."""
    old = node.inputs[2] if len(node.inputs) > 2 else None
    bias = np.zeros(1) if old is None else floats_of(old, "biases")
    return affine.scale * bias * factor + affine.shift


def _store(node: ir.Node, weights: np.ndarray, bias: np.ndarray, graph: ir.Graph, names: set[str]) -> None:
    like = node.inputs[1]
    assert like is not None
    new_weights, new_bias = rounded(weights, like), rounded(bias, like)
    put(node, 1, new_weights, graph, names, "weights")
    put(node, 2, new_bias, graph, names, f"{like.name or 'weights'}_bias")


def _take_over(value: ir.Value, result: ir.Value) -> None:
    """Let `value` be what `result` was: its name, declared type, readers and place among the outputs."""
    value.type, value.shape, value.doc_string = (
        result.type or value.type,
        result.shape or value.shape,
        result.doc_string,
    )
    value.metadata_props.update(result.metadata_props)
    name, result.name = result.name, None
    result.replace_all_uses_with(value, replace_graph_outputs=True)
    value.name = name


def _require_channels(channels: int, affine: Affine) -> None:
    if channels != affine.scale.size:
        raise LeftAlone("FOLD-CHANNELS", f"{affine.scale.size} parameters do not fit {channels} output channels")


def _rank(node: ir.Node) -> int | None:
    known = (v.shape for v in (node.inputs[0], node.outputs[0]) if v is not None and v.shape is not None)
    return next((len(shape) for shape in known), None)


def _place(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or node.op_type
