"""An If whose condition is a constant is replaced by the nodes of the branch that is taken."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import array_of, fresh_name
from onnxcompress.passes.normalizing.constants import allows_constants, graphs
from onnxcompress.passes.normalizing.dead import release_bodies


def inline_settled_branches(model: ir.Model) -> int:
    """Inline the taken branch of every If with a constant condition; returns how many.

    The results keep their names while an output or a reader needs them. A name inside the branch that is taken
    outside as well gets a number.
    """
    count = 0
    while allows_constants(model) and (node := _first_settled(model)) is not None:
        _inline(node, _names_outside(model, node))
        count += 1
    return count


def _first_settled(model: ir.Model) -> ir.Node | None:
    return next((node for graph in graphs(model) for node in graph if _taken(node) is not None), None)


def _taken(node: ir.Node) -> ir.Graph | None:
    """The branch that a constant condition settles on; None where it does not."""
    if node.op_type != "If" or node.domain != "":
        return None
    condition = array_of(node.inputs[0])
    if condition is None or condition.size != 1:
        return None
    branch = node.attributes.get("then_branch" if condition.item() else "else_branch")
    return None if branch is None or branch.is_ref() else branch.as_graph()


def _inline(node: ir.Node, taken: set[str]) -> None:
    graph, branch = node.graph, _taken(node)
    assert isinstance(graph, ir.Graph)
    assert branch is not None
    results = list(branch.outputs)
    branch.outputs.clear()
    _settle_names(branch, taken)
    _move(branch, node, graph)
    for old, new in zip(node.outputs, results, strict=True):
        _hand_over(old, new, node, graph)
    graph.remove(node, safe=True)
    release_bodies(node)  # the branch that is not taken


def _names_outside(model: ir.Model, node: ir.Node) -> set[str]:
    """Every name of the model that is not inside `node`'s own subgraphs."""
    inside = {id(g) for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH for g in _with_nested(a)}
    return {name for graph in graphs(model) if id(graph) not in inside for name in _names(graph)}


def _with_nested(attribute: ir.Attr) -> list[ir.Graph]:
    graph = attribute.as_graph()
    return [graph, *graph.subgraphs()]


def _names(graph: ir.Graph) -> set[str]:
    values = [*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)]
    return {v.name for v in values if v.name} | {node.name for node in graph if node.name}


def _settle_names(branch: ir.Graph, taken: set[str]) -> None:
    """Give the branch names that nothing outside of it has."""
    for value in [*branch.initializers.values(), *(v for node in branch for v in node.outputs)]:
        if value.name:
            value.name = fresh_name(taken, value.name)
    for node in branch:
        if node.name:
            node.name = fresh_name(taken, node.name)


def _move(branch: ir.Graph, node: ir.Node, graph: ir.Graph) -> None:
    nodes, initializers = list(branch), list(branch.initializers.values())
    branch.remove(nodes)
    graph.insert_before(node, nodes)
    branch.initializers.clear()
    for value in initializers:
        graph.register_initializer(value)


def _hand_over(old: ir.Value, new: ir.Value, node: ir.Node, graph: ir.Graph) -> None:
    """Put an Identity of `new` in the place of `old`, a result of the If; `remove_identities` takes it out again."""
    copy = ir.Value(name=old.name, type=old.type, shape=old.shape, doc_string=old.doc_string)
    copy.metadata_props.update(old.metadata_props)
    old.replace_all_uses_with(copy, replace_graph_outputs=True)
    graph.insert_before(node, ir.Node("", "Identity", [new], outputs=[copy]))
