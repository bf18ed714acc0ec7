"""Sizes inside a body: it is made a model of its own, with what it captures as inputs, and probed like any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper

from onnxcompress.passes.pruning.trace import Labels, Trace, constant_tensor
from onnxcompress.runtime import Session
from onnxcompress.runtime.batching import Dim
from onnxcompress.shapes import ShapeTable, infer


@dataclass(frozen=True)
class Start:
    """What is known of a body's input.

    Attributes:
        labels: Its atoms by axis.
        size: Its sizes under the probe.
        dims: An int for a fixed axis, a symbol for a free one.
        kind: Its type, where the body does not say.
    """

    labels: Labels
    size: tuple[int, ...]
    dims: tuple[Dim, ...]
    kind: ir.DataType | None

    def without(self, axis: int) -> Start:
        """The same with one axis walked along."""
        after = axis + 1
        labels = [*self.labels[:axis], *self.labels[after:]]
        return Start(labels, self.size[:axis] + self.size[after:], self.dims[:axis] + self.dims[after:], self.kind)


def start_of(found: Trace, node: ir.Node, index: int) -> Start:
    """What is known of a node's input."""
    value = node.inputs[index]
    size = found.shape_of(node, index)
    return Start(found.of(node, index), size, _dims(found, value, size), _kind(found, value))


def body_table(found: Trace, body: ir.Graph, starts: Sequence[Start]) -> ShapeTable | None:
    """Shapes under the probe of every tensor in a body; None where those of an input are not known.

    Args:
        found: The walk so far: what the body captures has been seen.
        body: The body.
        starts: Its inputs.

    Raises:
        CompressError: Where the body does not run by itself.
    """
    feeds: dict[str, np.ndarray] = {}
    graph = ir.serde.serialize_graph(body)
    del graph.input[:], graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in graph.node[-1:])
    for value, start in zip(body.inputs, starts, strict=True):
        if (kind := value.dtype or start.kind) is None:
            return None
        _declare(graph, feeds, value.name or "", kind, start.size, start.dims)
    for value in captured(body):
        tensor, kind, size = constant_tensor(value), _kind(found, value), found.shape(value)
        if tensor is not None:
            graph.initializer.append(ir.to_proto(ir.tensor(tensor.numpy(), tensor.dtype, name=value.name)))
        elif kind is None or size is None:
            return None
        else:
            _declare(graph, feeds, value.name or "", kind, size, _dims(found, value, size))
            known = found.table_of(value).value(value.name)
            feeds[value.name or ""] = feeds[value.name or ""] if known is None else known
    imports = [helper.make_opsetid(domain, version) for domain, version in found.model.graph.opset_imports.items()]
    model = ir.from_proto(helper.make_model(graph, opset_imports=imports, ir_version=found.model.ir_version))
    # A branch that the probe does not take may not run on it: what inference says of it contradicts the rest.
    Session(model, optimize=False).run(feeds)
    return infer(model, feeds=feeds, values=True)


def captured(body: ir.Graph) -> Iterator[ir.Value]:
    """What a body, or a body within it, reads from outside, each value once."""
    graphs = [body, *body.subgraphs()]
    own = {value for graph in graphs for value in (*graph.inputs, *graph.initializers.values())}
    own |= {value for graph in graphs for node in graph for value in node.outputs}
    read = [value for graph in graphs for node in graph for value in node.inputs]
    read += [value for graph in graphs[1:] for value in graph.outputs]
    for value in dict.fromkeys(read):
        if value is not None and value not in own:
            yield value


def _declare(
    graph: onnx.GraphProto,
    feeds: dict[str, np.ndarray],
    name: str,
    kind: ir.DataType,
    size: Sequence[int],
    dims: Sequence[Dim],
) -> None:
    symbols = [dim if isinstance(dim, int) else _symbol(dim, name, axis) for axis, dim in enumerate(dims)]
    graph.input.append(helper.make_tensor_value_info(name, int(kind), symbols))
    filled = np.random.Generator(np.random.PCG64(0)).standard_normal(tuple(size)) if kind.is_floating_point() else None
    feeds[name] = (np.ones(tuple(size)) if filled is None else np.asarray(filled)).astype(kind.numpy())


def _symbol(dim: str | None, name: str, axis: int) -> str:
    """One name for each expression, so that equal ones stay equal."""
    return f"{name}_{axis}" if dim is None else "".join(c if c.isalnum() else "_" for c in dim)


def _dims(found: Trace, value: ir.Value | None, size: Sequence[int]) -> tuple[Dim, ...]:
    dims = None if value is None else found.dims(value)
    if dims is not None and len(dims) == len(size):
        return dims
    return tuple(size) if constant_tensor(value) is not None else (None,) * len(size)


def _kind(found: Trace, value: ir.Value | None) -> ir.DataType | None:
    if value is None:
        return None
    tensor = constant_tensor(value)
    return tensor.dtype if tensor is not None else (found.dtype(value) or value.dtype)


TRIP, CONDITION = (Start([], (), (), kind) for kind in (ir.DataType.INT64, ir.DataType.BOOL))
"""What a Loop gives its body first."""
