"""Which nodes are linear by a constant, and how: a `Linear`, or the reason why a node is none."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.patches import Geometry
from onnxcompress.passes.reconstruction.slots import Slot, slot_of

Reader = Callable[[ir.Node, int], Slot | None]
"""Gives the slot at an input of a node, None where it holds no constant."""


def linear_of(node: ir.Node, index: int, *, shared: bool = False, reader: Reader = slot_of) -> Linear | str:
    """The node as a least-squares problem, or the reason why it is none (empty: not a linear operator).

    Args:
        node: Any node of the main graph.
        index: Its place in topological order.
        shared: Accept a weight that others read too; `Linear.store` gives the node one of its own then.
        reader: What counts as a constant; plain ones by default.
    """
    kinds = {"Conv": _conv, "ConvTranspose": _conv, "Gemm": _gemm, "MatMul": _matmul}
    if node.domain not in ("", "ai.onnx") or node.op_type not in kinds:
        return ""
    place = _weight_place(node, reader)
    weight = reader(node, place)
    if weight is None:
        return "" if node.op_type == "MatMul" else "its weight is not a constant"
    if weight.shared and not shared:
        return "its weight has several readers"
    numbers = weight.read()
    if numbers.dtype.kind not in "fV":
        return "its weight is not a float tensor"
    if not numbers.size:
        return "its weight has no elements"
    if node.inputs[1 - place] is None:
        return "it has no input"
    return kinds[node.op_type](node, index, weight, reader)


def _weight_place(node: ir.Node, reader: Reader) -> int:
    """Which input is the constant: the second, or the first of a MatMul that has it on the left."""
    on_left = node.op_type == "MatMul" and reader(node, 1) is None and reader(node, 0) is not None
    return 0 if on_left else 1


def _conv(node: ir.Node, index: int, weight: Slot, reader: Reader) -> Linear | str:
    shape = weight.read().shape
    axes, group = len(shape) - 2, max(int(graph.attribute(node, "group", 1)), 1)
    if axes < 1 or shape[0] % group:
        return "its channels do not divide into its groups"
    bias = _bias(node, reader)
    if isinstance(bias, str):
        return bias
    geometry = _geometry(node, shape[2:], group)
    return Linear(
        node,
        index,
        _name(node.inputs[0]),
        node.outputs[0],
        weight,
        bias,
        geometry,
        outputs_first=True,
        can_add_bias=True,
    )


def _geometry(node: ir.Node, kernel: tuple[int, ...], group: int) -> Geometry:
    axes, transposed = len(kernel), node.op_type == "ConvTranspose"
    auto = str(graph.attribute(node, "auto_pad", "NOTSET"))
    pads = tuple(graph.attribute(node, "pads") or (0,) * 2 * axes)
    derived = auto.startswith("SAME") or (transposed and graph.attribute(node, "output_shape") is not None)
    return Geometry(
        kernel=tuple(kernel),
        strides=tuple(graph.attribute(node, "strides") or (1,) * axes),
        dilations=tuple(graph.attribute(node, "dilations") or (1,) * axes),
        pads=() if derived else ((0,) * 2 * axes if auto == "VALID" else pads),
        group=group,
        transposed=transposed,
        upper=auto == "SAME_UPPER" if not transposed or auto != "NOTSET" else False,
        extra=tuple(graph.attribute(node, "output_padding") or (0,) * axes),
        shape=tuple(graph.attribute(node, "output_shape") or ())[-axes:] if transposed else (),
    )


def _gemm(node: ir.Node, index: int, weight: Slot, reader: Reader) -> Linear | str:
    outputs_first = bool(graph.attribute(node, "transB", 0))
    outputs = weight.read().shape[0 if outputs_first else 1]
    bias = _bias(node, reader)
    if isinstance(bias, str):
        return bias
    if bias is not None and (bias.read().size not in (1, outputs) or bias.read().shape[:-1] not in ((), (1,))):
        return "its bias is not a vector of constants"
    alpha, beta = (float(graph.attribute(node, name, 1.0)) for name in ("alpha", "beta"))
    if not alpha or not beta:
        return "its alpha or beta is zero"
    return Linear(
        node, index, _name(node.inputs[0]), node.outputs[0], weight, bias, outputs_first=outputs_first,
        turned=bool(graph.attribute(node, "transA", 0)), scale=alpha, bias_scale=beta, can_add_bias=_opset(node) >= 11,
    )  # fmt: skip


def _matmul(node: ir.Node, index: int, weight: Slot, reader: Reader) -> Linear | str:
    shape = weight.read().shape
    if len(shape) != 2:
        return "its weight is not a matrix"
    if weight.index == 0:
        name = _name(node.inputs[1])
        return Linear(node, index, name, node.outputs[0], weight, outputs_first=True, turned=True, left=True)
    bias, output = _following_bias(node, shape[1], reader)
    return Linear(node, index, _name(node.inputs[0]), output, weight, bias)


def _bias(node: ir.Node, reader: Reader) -> Slot | str | None:
    """The third input; a text where it is there and cannot be refitted."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return None
    return reader(node, 2) or "its bias is not a constant"


def _following_bias(node: ir.Node, outputs: int, reader: Reader) -> tuple[Slot | None, ir.Value]:
    """The constant vector that the only reader of a MatMul adds, and that sum; else (None, the product itself)."""
    product = node.outputs[0]
    uses = list(product.uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add" and not product.is_graph_output():
        adder = uses[0].node
        slot = reader(adder, 1 - uses[0].idx)
        if slot is not None and slot.read().shape in [(1,) * rank + (outputs,) for rank in range(3)]:
            return slot, adder.outputs[0]
    return None, product


def _opset(node: ir.Node) -> int:
    owner = node.graph
    return owner.opset_imports.get("", 0) if isinstance(owner, ir.Graph) else 0


def _name(value: ir.Value | None) -> str:
    return "" if value is None else value.name or ""
