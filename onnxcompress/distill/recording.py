"""The walk that records a graph: known values are computed, the rest becomes torch.fx nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir
import torch
from torch.fx.proxy import GraphAppendingTracer

from onnxcompress import graph
from onnxcompress.distill.fake_quant import along, grown, to_grid
from onnxcompress.distill.ops import TABLE, OpFunction, OpNode
from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.weights import Grid, Weight, stored
from onnxcompress.errors import ModelError

# What torch raises where shapes or types do not go together.
_TORCH_FAULTS = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, KeyError)


@dataclass
class Slot:
    """One value during the walk.

    Attributes:
        shape: Its sizes.
        dtype: Its torch type.
        example: Its numbers for the example batch; dropped after the last use.
        proxy: Its recorded form; None where it is known.
        constant: True where no sample and no weight enters it.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    example: torch.Tensor | None
    proxy: Any
    constant: bool


class Recorder:
    """Walks one model once.

    Args:
        model: The model, without local functions.
        index: Position of each weight's value.
        weights: The weights.
        parameters: Their tensors.
        training: Batch normalization uses the batch's statistics.
        follow: Bias scales with the trained scales that they are products of.
    """

    def __init__(
        self,
        model: ir.Model,
        index: Mapping[ir.Value, int],
        weights: Sequence[Weight],
        parameters: Sequence[torch.Tensor],
        *,
        training: bool,
        follow: Mapping[ir.Value, tuple[ir.Value, ...]] | None = None,
    ) -> None:
        self._opsets = model.graph.opset_imports
        self._index, self._weights, self._parameters, self._training = index, weights, parameters, training
        self._follow = follow or {}
        self._graph = torch.fx.Graph()
        self._tracer = GraphAppendingTracer(self._graph)
        self._attributes: dict[str, torch.Tensor] = {}
        self._slots: dict[ir.Value, Slot] = {}
        self._left: dict[ir.Value, int] = {}
        self._main: dict[str, ir.Value] = {}
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.nodes: dict[str, str] = {}

    def feed(self, value: ir.Value, example: torch.Tensor, *, known: bool) -> None:
        """Declare an input: a setting that is known, or samples."""
        proxy = None
        if not known:
            proxy = torch.fx.Proxy(self._graph.placeholder(f"input_{len(self._slots)}"), self._tracer)
        self._slots[value] = Slot(tuple(example.shape), example.dtype, example, proxy, known)
        self._main[value.name or ""] = value

    def walk(self, scope: ir.Graph, *, main: bool = True) -> None:
        """Compute or record every node of `scope`; only names of the main graph are kept."""
        for node in scope:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                self._main.setdefault(node.outputs[0].name or "", node.outputs[0])
                continue
            self._node(node)
            for value in node.outputs:
                slot = self._slots.get(value)
                if slot is not None and value.name and main:
                    self._note(value, slot)

    def finish(self, outputs: Sequence[str]) -> torch.fx.GraphModule:
        """Close the graph with a dict of the named tensors of the main graph."""
        made = {name: self._proxy(self._look(self._main[name])).node for name in outputs}
        self._graph.output(made)
        self._graph.eliminate_dead_code()
        self._graph.lint()
        used = {n.target for n in self._graph.nodes if n.op == "get_attr"}
        return torch.fx.GraphModule({k: v for k, v in self._attributes.items() if k in used}, self._graph)

    def _note(self, value: ir.Value, slot: Slot) -> None:
        name = value.name or ""
        self._main[name] = value
        if slot.proxy is not None and slot.dtype.is_floating_point:
            self.sizes[name] = slot.shape
            self.nodes[name] = slot.proxy.node.name

    def _node(self, node: ir.Node) -> None:
        if node.op_type == "If" and node.domain in ("", "ai.onnx"):
            self._if(node)
            return
        slots = [None if v is None else self._look(v) for v in node.inputs]
        if node.op_type in ("Shape", "Size"):
            results: Any = self._size(node, slots[0])
            self._slots[node.outputs[0]] = Slot(tuple(results.shape), torch.int64, results, None, True)
        else:
            self._compute(node, slots)
        for value in node.inputs:
            self._release(value)

    def _compute(self, node: ir.Node, slots: list[Slot | None]) -> None:
        function, view = _function(node), self._view(node, slots)
        known = all(s is None or s.constant for s in slots)
        try:
            examples = _as_tuple(
                function(replace(view, training=False), *[None if s is None else s.example for s in slots])
            )
            proxies: tuple[Any, ...] = (None,) * len(examples)
            if not known:
                recorded = replace(view, lift=self._lift)
                proxies = _as_tuple(function(recorded, *[None if s is None else self._proxy(s) for s in slots]))
        except _TORCH_FAULTS as fault:
            hint = "Check the shapes with `onnxcompress inspect`, or cut the model before that node."
            raise view.refuse(f"torch cannot compute it ({fault})", hint) from fault
        for value, example, proxy in zip(node.outputs, examples, proxies, strict=False):
            if example is not None:
                recorded_proxy = proxy if isinstance(proxy, torch.fx.Proxy) else None
                self._slots[value] = Slot(
                    tuple(example.shape), example.dtype, example, recorded_proxy, recorded_proxy is None
                )

    def _view(self, node: ir.Node, slots: list[Slot | None]) -> OpNode:
        attributes = {name: a.value for name, a in node.attributes.items() if not a.is_ref()}
        if node.op_type == "QuantizeLinear":
            attributes["grid_type"] = _grid_type(node)
        used = [i for i, out in enumerate(node.outputs) if out.name and (out.uses() or out.is_graph_output())]
        domain = "" if node.domain == "ai.onnx" else node.domain
        return OpNode(
            name=_name(node),
            op_type=node.op_type,
            opset=self._opsets.get(domain, 1),
            attributes=attributes,
            shapes=tuple(None if s is None else s.shape for s in slots),
            dtypes=tuple(None if s is None else s.dtype for s in slots),
            constants=tuple(s.example if s is not None and s.constant else None for s in slots),
            outputs=max(used, default=0) + 1,
            training=self._training,
        )

    def _size(self, node: ir.Node, slot: Slot | None) -> torch.Tensor:
        shape = () if slot is None else slot.shape
        if node.op_type == "Size":
            return torch.tensor(torch.Size(shape).numel(), dtype=torch.int64)
        start, end = graph.attribute(node, "start", 0), graph.attribute(node, "end")
        return torch.tensor(shape[start:end], dtype=torch.int64)

    def _if(self, node: ir.Node) -> None:
        condition = self._look(node.inputs[0]) if node.inputs[0] is not None else None
        if condition is None or not condition.constant or condition.example is None:
            why = "which branch runs depends on the samples"
            hint = "Cut the model before that node, or export it without control flow."
            what, where = "cannot train the model", f"If node {_name(node)!r}"
            raise ModelError(what, where=where, why=why, hint=hint, code="MODEL-DISTILL-NODE")
        branch = node.attributes["then_branch" if bool(condition.example) else "else_branch"].as_graph()
        self.walk(branch, main=False)
        for outer, inner in zip(node.outputs, branch.outputs, strict=True):
            self._slots[outer] = replace(self._look(inner))

    def _look(self, value: ir.Value) -> Slot:
        if value not in self._slots:
            self._slots[value] = self._stored(value)
        return self._slots[value]

    def _stored(self, value: ir.Value) -> Slot:
        tensor = stored(value)
        if tensor is None:
            hint = "Check the model with onnx.checker, and that every input is fed."
            raise ModelError(
                "cannot train the model",
                where=f"tensor {value.name!r}",
                why="it has no value",
                hint=hint,
                code="MODEL-NO-TENSOR",
            )
        if value in self._follow:
            return self._grown(value, [self._growth(factor) for factor in self._follow[value]])
        if value not in self._index:
            made = to_torch(tensor.numpy())
            return Slot(tuple(made.shape), made.dtype, made, None, True)
        return self._weight(self._index[value])

    def _weight(self, position: int) -> Slot:
        """A weight's Parameter; one that is stored as integers is put on its grid first."""
        example, weight = self._parameters[position], self._weights[position]
        if weight.role == "scale":
            return self._grown(weight.value, [self._growth(weight.value)])
        proxy = self._attribute(f"weight_{position}", example)
        if weight.grid is None:
            return Slot(tuple(example.shape), example.dtype, example, proxy, False)
        return self._on_grid(example, proxy, weight.grid)

    def _on_grid(self, example: torch.Tensor, proxy: Any, grid: Grid) -> Slot:
        zero, limits = torch.from_numpy(grid.zero), (grid.low, grid.high)
        source, layout = self._look(grid.source), (tuple(example.shape), grid.axis, grid.block)
        if source.constant:
            scale = torch.from_numpy(grid.scale)
            laid = self._lift(scale)
        else:
            assert source.example is not None
            scale = along(source.example, *layout)
            laid = self._tracer.create_proxy("call_function", along, (source.proxy, *layout), {})
        example = to_grid(example, scale, zero, *limits)
        made = self._tracer.create_proxy("call_function", to_grid, (proxy, laid, self._lift(zero), *limits), {})
        return Slot(tuple(example.shape), example.dtype, example, made, False)

    def _growth(self, value: ir.Value) -> Slot:
        """What a trained scale learns, as it is in the module."""
        position = self._index[value]
        example = self._parameters[position]
        return Slot(tuple(example.shape), example.dtype, example, self._attribute(f"weight_{position}", example), False)

    def _grown(self, value: ir.Value, growths: Sequence[Slot]) -> Slot:
        """The stored scale, grown by each."""
        tensor = stored(value)
        assert tensor is not None
        example = to_torch(tensor.numpy())
        proxy = self._lift(example)
        for growth in growths:
            assert growth.example is not None
            example = grown(example, growth.example)
            proxy = self._tracer.create_proxy("call_function", grown, (proxy, growth.proxy), {})
        return Slot(tuple(example.shape), example.dtype, example, proxy, False)

    def _proxy(self, slot: Slot) -> Any:
        if slot.proxy is None and slot.example is not None:
            return self._lift(slot.example)
        return slot.proxy

    def _lift(self, tensor: torch.Tensor) -> Any:
        return self._attribute(f"constant_{len(self._attributes)}", tensor)

    def _attribute(self, name: str, tensor: torch.Tensor) -> Any:
        self._attributes[name] = tensor
        return self._tracer.create_proxy("get_attr", name, (), {})

    def _release(self, value: ir.Value | None) -> None:
        """Drop an example after its last use, so that the walk holds no more than a forward pass."""
        if value is None or value not in self._slots or self._slots[value].proxy is None:
            return
        self._left[value] = self._left.get(value, len(value.uses()) + value.is_graph_output()) - 1
        if self._left[value] == 0:
            self._slots[value].example = None


def _function(node: ir.Node) -> OpFunction:
    domain = node.domain
    key = node.op_type if domain in ("", "ai.onnx") else f"{domain}::{node.op_type}"
    if key in TABLE:
        return TABLE[key]
    raise ModelError(
        "cannot train the model",
        where=f"{key} node {_name(node)!r}",
        why="there is no torch form of that op",
        hint="Cut the model before that node (onnx.utils.extract_model), distill the part, and join it again.",
        code="MODEL-DISTILL-OP",
    )


def _grid_type(node: ir.Node) -> int:
    """The element type that a QuantizeLinear makes."""
    if len(node.inputs) > 2 and node.inputs[2] is not None and node.inputs[2].dtype is not None:
        return int(node.inputs[2].dtype)
    return int(graph.attribute(node, "output_dtype", 0) or ir.DataType.UINT8)


def _name(node: ir.Node) -> str:
    return node.name or (node.outputs[0].name or "")


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple | list) else (result,)
