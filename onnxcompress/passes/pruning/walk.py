"""The walk: every node in topological order, each by its op's rule; rules of nodes with bodies walk those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from onnxcompress.graph import label
from onnxcompress.passes.pruning import rules_elementwise as elementwise
from onnxcompress.passes.pruning.atoms import Freeze
from onnxcompress.passes.pruning.products import Equations
from onnxcompress.passes.pruning.shortcuts import shortened
from onnxcompress.passes.pruning.trace import Rule, Trace, constant_tensor
from onnxcompress.shapes.table import ShapeTable

ROWWISE = frozenset({
    *elementwise.UNARY, *elementwise.BROADCAST, *elementwise.REDUCTIONS, *elementwise.ALONG,
    "Concat", "DepthToSpace", "DequantizeLinear", "Einsum", "Expand", "Flatten", "Gather", "InstanceNormalization",
    "MatMul", "QuantizeLinear", "Reshape", "Shape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Ops whose rules follow lists that differ from row to row; before any other op, all rows choose alike."""


def trace(
    model: ir.Model,
    table: ShapeTable,
    rules: Mapping[str, Rule],
    scope: set[str],
    excluded: set[str],
    freed: Mapping[str, set[int]] | None = None,
) -> Trace:
    """Walk `model` in topological order.

    Args:
        model: Not edited.
        table: Shapes under a probe, with the values of small integer tensors.
        rules: One rule an op type of the default domain; what is not listed freezes what it touches.
        scope: Labels of the nodes whose channels may be removed.
        excluded: Labels of the nodes whose constants freeze.
        freed: Axes of graph outputs that may be cut, by name.
    """
    found = Trace(model, table, scope, excluded, rules)
    for node in model.graph:
        step(found, node)
    for value in model.graph.outputs:
        _freeze_output(found, value, (freed or {}).get(value.name or "", set()))
        found.pin(found.joints.get(value, ()))
    _freeze_open_weights(found)
    Equations(found.atoms, found.products).settle()
    return found


def _freeze_output(found: Trace, value: ir.Value, freed: set[int]) -> None:
    for axis, ids in enumerate(found.labels.get(value, [])):
        if ids is not None and axis not in freed:
            maker, name = value.producer(), f"{value.name}:{axis}"
            why = f"they are axis {axis} of the graph output {value.name} (--allow-output {name} frees it)"
            where = "" if maker is None else label(maker)
            found.atoms.freezes.append(Freeze(ids, "PRUNE-FROZEN-OUTPUT", where, why, name))
        elif ids is not None:
            found.pinned.append(ids)  # callers are told which channels are left, in their old order


def _freeze_open_weights(found: Trace) -> None:
    """Weights that are graph inputs or outputs too: their sizes are part of the interface."""
    for use in found.uses:
        if use.value.is_graph_input():
            why = f"the weight {use.value.name} is a graph input too, which callers may override"
            found.freeze(use.lists(), None, "PRUNE-FROZEN-INPUT", why)
        elif use.value.is_graph_output():
            why = f"the weight {use.value.name} is a graph output too"
            found.freeze(use.lists(), None, "PRUNE-FROZEN-OUTPUT", why)


def step(found: Trace, node: ir.Node) -> None:
    """Apply one node's rule."""
    if node.op_type == "Constant":
        return
    inputs = [value for value in node.inputs if value is not None]
    fixed = (v in found.constants or constant_tensor(v) is not None for v in inputs)
    if inputs and all(fixed) and not any(True for _ in _bodies(node)):
        found.constants.update(node.outputs)
    rule = found.rules.get(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}")
    if _is_shape_arithmetic(found, node) or node in found.shortened or shortened(found, node):
        pass
    elif rule is None or any(found.shape(value) is None for value in inputs):
        freeze_all(found, node)
    else:
        rule(found, node)
        if node.op_type not in ROWWISE:
            for index in range(len(node.inputs)):
                found.pin(found.joints_of(node, index))
        _freeze_side_outputs(found, node)
        _freeze_out_of_scope(found, node)
    for output in node.outputs:
        found.labels.setdefault(output, [None] * len(found.shape(output) or ()))


def _is_shape_arithmetic(found: Trace, node: ir.Node) -> bool:
    """Integers that come from no labelled tensor: sizes and indices, whose constants are no weights."""
    kinds = {found.dtype(output) for output in node.outputs if output.name}
    integers = {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL}
    if not kinds <= integers or node.op_type in ("ConvInteger", "MatMulInteger"):
        return False
    lists = [ids for value in node.inputs if value is not None for ids in found.labels.get(value, [])]
    return all(ids is None for ids in lists) and not any(True for _ in _captured(node))


def _freeze_side_outputs(found: Trace, node: ir.Node) -> None:
    """Indices, means and the like, of which the op's rule says nothing: where they are read, the input must stay."""
    for output in node.outputs[1:]:
        if output not in found.labels and (output.uses() or output.is_graph_output()):
            why = f"{node.op_type}'s output {output.name} is read too"
            found.freeze(found.of(node, 0), node, "PRUNE-FROZEN-OP", why)


def _freeze_out_of_scope(found: Trace, node: ir.Node) -> None:
    if label(node) not in found.excluded:
        return
    for index, value in enumerate(node.inputs):
        if value is not None and constant_tensor(value) is not None:
            found.freeze(found.of(node, index), node, "PRUNE-OUT-OF-SCOPE", "the node was excluded")


def freeze_all(found: Trace, node: ir.Node, code: str = "PRUNE-FROZEN-OP", why: str = "") -> None:
    """The default: everything that the node reads, or that its bodies capture, must stay."""
    why = why or f"{node.op_type} has no rule for this axis"
    for index, value in enumerate(node.inputs):
        if value is not None and found.shape(value) is not None:
            found.freeze(found.of(node, index), node, code, why)
        elif value is not None:
            found.freeze(found.labels.get(value, []), node, code, why)
    for reader, index, value in _captured(node):
        captured = found.labels.get(value)
        if captured is None and constant_tensor(value) is not None:
            captured = found.of(reader, index)
        why = f"it is read inside the body of {node.op_type}"
        found.freeze(captured or [], node, "PRUNE-FROZEN-CAPTURED", why)


def _captured(node: ir.Node) -> Iterator[tuple[ir.Node, int, ir.Value]]:
    for body in _bodies(node):
        for inner in body:
            for index, value in enumerate(inner.inputs):
                if value is not None:
                    yield inner, index, value
        # A body may hand an outer value on without any node.
        for value in body.outputs:
            yield node, 0, value


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
            yield from attribute.as_graph().subgraphs()
