"""What is still to be done once onnx_ir holds the graph: sources of all values, order of nodes, value_info."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnxcompress.errors import ModelError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxcompress.report.records import Finding

HAD_VALUE_INFO = "onnxcompress.value_info"
NAMED_HERE = "onnxcompress.named_here"


def bodies(model: ir.Model) -> Iterable[ir.Graph]:
    """The graphs of the model and of its functions, all subgraphs included, outer ones first."""
    yield model.graph
    yield from model.graph.subgraphs()
    for function in model.functions.values():
        yield function.graph
        yield from function.graph.subgraphs()


def check_sources(model: ir.Model, what: str) -> None:
    """Refuse a value that nothing produces; onnx_ir would invent one.

    Raises:
        ModelError: MODEL-DANGLING-INPUT.
    """
    for body in bodies(model):
        for node in body:
            for value in node.inputs:
                if value is not None and _is_orphan(value):
                    raise _dangling(what, f"input {value.name} of node {node.name or node.op_type}")
            if any(_is_incomplete(configuration) for configuration in node.device_configurations):
                raise _dangling(what, f"device configuration of node {node.name or node.op_type}")
        for value in body.outputs:
            if _is_orphan(value):
                raise _dangling(what, f"graph output {value.name}")


def _is_orphan(value: ir.Value) -> bool:
    return value.producer() is None and not value.is_graph_input() and not value.is_initializer()


def _is_incomplete(configuration: ir.NodeDeviceConfiguration) -> bool:
    """True where it names no configuration of the model, or shards a tensor that is not there."""
    named = configuration.configuration is not None and configuration.configuration.name
    return not named or any(spec.value is None or not spec.value.name for spec in configuration.sharding_specs)


def _dangling(what: str, where: str) -> ModelError:
    return ModelError(
        what,
        where=where,
        why="no node, input or initializer of that name gives it a value",
        hint="Export the model again; the file may be cut off or was edited by hand.",
        code="MODEL-DANGLING-INPUT",
    )


def free_axes(model: ir.Model) -> list[Finding]:
    """Declare axes of negative size as free ones, in place: Paddle's converters write -1 for them."""
    from onnxcompress.report.records import Finding

    named: list[str] = []
    for body in bodies(model):
        for value in (*body.inputs, *(output for node in body for output in node.outputs)):
            shape = value.shape
            if shape is not None and any(isinstance(dim, int) and dim < 0 for dim in shape):
                value.shape = _freed(shape)
                named.append(value.name or "")
    if not named:
        return []
    message = f"{len(named)} tensors declare an axis of negative size, which is read as a free axis"
    return [Finding("LOAD-NEGATIVE-AXIS", message, node=named[0], numbers={"tensors": len(named)})]


def _freed(shape: ir.Shape) -> ir.Shape:
    import onnx_ir as ir

    return ir.Shape([None if isinstance(dim, int) and dim < 0 else dim for dim in shape])


def sort_nodes(model: ir.Model, what: str) -> list[Finding]:
    """Sort the nodes topologically where the file did not, as the format demands; in place.

    Raises:
        ModelError: MODEL-CYCLE where there is no such order.
    """
    from onnxcompress.report.records import Finding

    roots = [model.graph, *(function.graph for function in model.functions.values())]
    unsorted = [graph for graph in roots if not _is_sorted(graph)]
    for graph in unsorted:
        try:
            graph.sort()
        except ValueError as error:
            raise ModelError(
                what,
                where=f"graph {graph.name}",
                why="its nodes depend on each other in a circle",
                hint="Export the model again.",
                code="MODEL-CYCLE",
            ) from error
    message = "the nodes were not in topological order, as the format demands; they are now"
    return [Finding("LOAD-SORTED", message, node=graph.name or "") for graph in unsorted]


def _is_sorted(graph: ir.Graph) -> bool:
    """True where every node, those of subgraphs included, comes after the producers of its inputs."""
    seen: set[ir.Node] = set()
    for node in graph.all_nodes():
        producers = (value.producer() for value in node.inputs if value is not None)
        if not seen.issuperset(producer for producer in producers if producer is not None):
            return False
        seen.add(node)
    return True


def mark_value_info(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Remember which initializers had a value_info entry; onnx_ir writes one for each of them.

    Call this while the nodes of `model` still stand in the order of `proto`.
    """
    stack: list[tuple[ir.Graph, onnx.GraphProto | onnx.FunctionProto]] = [(model.graph, proto.graph)]
    stack += [(model.functions[f.domain, f.name, f.overload].graph, f) for f in proto.functions]
    while stack:
        graph, raw = stack.pop()
        named = {info.name for info in raw.value_info}
        for value in graph.initializers.values():
            if value.name in named:
                value.meta[HAD_VALUE_INFO] = True
        for node, raw_node in zip(graph, raw.node, strict=True):
            for attribute in raw_node.attribute:
                if attribute.HasField("g"):
                    stack.append((node.attributes[attribute.name].as_graph(), attribute.g))
                elif len(attribute.graphs):
                    stack += zip(node.attributes[attribute.name].as_graphs(), attribute.graphs, strict=True)


def name_nodes(model: ir.Model) -> None:
    """Give every unnamed node the name of its first output, so that reports and patterns can tell nodes apart.

    The names are the same on every load, and are not written back: the file keeps its unnamed nodes.
    """
    nodes = [node for body in bodies(model) for node in body]
    taken = {node.name for node in nodes if node.name}
    for node in nodes:
        if not node.name:
            base = next((value.name for value in node.outputs if value.name), node.op_type)
            count, name = 1, base
            while name in taken:
                count, name = count + 1, f"{base}_{count}"
            taken.add(name)
            node.name = name
            node.meta[NAMED_HERE] = True
