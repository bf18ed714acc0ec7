"""The walk that records a graph: known values are computed, the rest becomes torch.fx nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.control_flow import inline_if, unroll_loop, unroll_scan
from onnxcompress.distill.custom_ops import CustomOp
from onnxcompress.distill.loose import at_run_time, is_late, is_loose, record, size
from onnxcompress.distill.memory import give_back
from onnxcompress.distill.ops import TABLE, OpFunction, OpNode
from onnxcompress.distill.origins import stored
from onnxcompress.distill.recorded_weights import RecordedWeights
from onnxcompress.distill.tape import Slot, Tape
from onnxcompress.distill.weights import Weight
from onnxcompress.distill.working_copy import ancestors, home_node
from onnxcompress.errors import ModelError

# What torch raises where shapes or types do not go together.
_TORCH_FAULTS = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, KeyError)
# Bytes of examples after which freed memory is given back to the system.
_FREED = 2**26
_CONTROL = {"If": inline_if, "Loop": unroll_loop, "Scan": unroll_scan}


class Recorder:
    """Walks one model once.

    Args:
        model: The model, without local functions.
        index: Position of each weight's value.
        weights: The weights.
        parameters: Their tensors.
        training: Batch normalization uses the batch's statistics.
        held: But not in these nodes.
        follow: Bias scales with the trained scales that they are products of.
        ops: The user's torch forms by operator, before those of the library.
    """

    def __init__(
        self,
        model: ir.Model,
        index: Mapping[ir.Value, int],
        weights: Sequence[Weight],
        parameters: Sequence[torch.Tensor],
        *,
        training: bool,
        held: frozenset[ir.Node] = frozenset(),
        follow: Mapping[ir.Value, tuple[ir.Value, ...]] | None = None,
        ops: Mapping[str, CustomOp] | None = None,
    ) -> None:
        self._opsets, self._training, self._held = model.graph.opset_imports, training, held
        self._whole = self._scope = model.graph
        self._ops = ops or {}
        self.tape, self.unrolled = Tape(), 0
        self._stored = RecordedWeights(self.tape, index, weights, parameters, follow or {}, self.look)
        self._slots: dict[ir.Value, Slot] = {}
        self._left: dict[ir.Value, int] = {}
        self._freed = 0
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.nodes: dict[str, str] = {}

    def feed(self, value: ir.Value, example: torch.Tensor, *, known: bool) -> None:
        """Declare an input: a setting that is known, or samples."""
        name = f"input_{len(self._slots)}"
        self._slots[value] = self.tape.known(example) if known else self.tape.slot(example, self.tape.placeholder(name))

    def record(self, outputs: Mapping[str, ir.Value]) -> torch.fx.GraphModule:
        """The module that gives these tensors of the main graph by name; what they do not need is not looked at."""
        needed = ancestors(outputs.values())
        for node in self._whole:
            if node in needed:
                self._node(node)
                self._note(node)
        return self.tape.finish({name: self.look(value) for name, value in outputs.items()})

    def walk(self, scope: ir.Graph) -> None:
        """Compute or record every node of a subgraph."""
        outer, self._scope = self._scope, scope
        for node in scope:
            self._node(node)
        self._scope = outer

    def opset(self, node: ir.Node) -> int:
        """Version of a node's operator set."""
        return self._opsets.get("" if node.domain == "ai.onnx" else node.domain, 1)

    def look(self, value: ir.Value) -> Slot:
        """The slot of a value, which a constant gets on its first use."""
        if value not in self._slots:
            self._slots[value] = self._stored.slot(value)
        return self._slots[value]

    def bind(self, value: ir.Value, slot: Slot) -> None:
        """Give a value its slot."""
        self._slots[value] = slot
        self._left.pop(value, None)

    def _note(self, node: ir.Node) -> None:
        for value in node.outputs:
            slot = self._slots.get(value)
            if slot is None or slot.proxy is None or slot.loose:
                continue
            if value.name and slot.dtype.is_floating_point:
                self.sizes[value.name] = slot.shape
                self.nodes[value.name] = slot.proxy.node.name

    def _node(self, node: ir.Node) -> None:
        if node.domain in ("", "ai.onnx") and node.op_type == "Constant":
            return
        if node.domain in ("", "ai.onnx") and node.op_type in _CONTROL:
            _CONTROL[node.op_type](node, self)
            return
        slots = [None if v is None else self.look(v) for v in node.inputs]
        if node.op_type in ("Shape", "Size") and not is_late(node.op_type, slots):
            self.bind(node.outputs[0], self.tape.known(_size(node, slots[0])))
        else:
            self._compute(node, slots)
        for value in node.inputs:
            self._release(value)

    def _compute(self, node: ir.Node, slots: list[Slot | None]) -> None:
        function, view = self._function(node), self._view(node, slots)
        known = all(s is None or s.constant for s in slots)
        late = is_late(node.op_type, slots)
        given = [None if s is None else s.example for s in slots]
        try:
            still = replace(view, training=False)
            examples = at_run_time(function, still)(*given) if late else _as_tuple(function(still, *given))
            proxies: tuple[Any, ...] = (None,) * len(examples)
            if not known:
                places = [None if s is None else self.tape.proxy(s) for s in slots]
                lifting, step = replace(view, lift=self.tape.lift), at_run_time(function, view)
                proxies = (
                    record(self.tape, step, places, len(examples)) if late else _as_tuple(function(lifting, *places))
                )
        except _TORCH_FAULTS as fault:
            hint = "Check the shapes with `onnxcompress inspect`, or cut the model before that node."
            raise view.refuse(f"torch cannot compute it ({fault})", hint) from fault
        for value, example, proxy in zip(node.outputs, examples, proxies, strict=False):
            if example is not None:
                recorded = isinstance(proxy, torch.fx.Proxy)
                slot = self.tape.slot(example, proxy) if recorded else self.tape.known(example)
                loose = is_loose(node.op_type, slots)
                if loose and recorded:
                    proxy.node.meta.clear()  # its sizes hold for the example alone
                self.bind(value, replace(slot, loose=loose))

    def _function(self, node: ir.Node) -> OpFunction:
        domain = node.domain
        key = node.op_type if domain in ("", "ai.onnx") else f"{domain}::{node.op_type}"
        if key in self._ops:
            return self._ops[key].record
        if key in ("Shape", "Size"):
            return size
        if key in TABLE:
            return TABLE[key]
        before = self._before(node)
        cut = f"train the part before it with --until {before}, or " if before else ""
        hint = f"{cut}give its torch form with --ops FILE.py (docs/writing-an-op.md)."
        what, where, why = "cannot train the model", f"{key} node {_name(node)!r}", "there is no torch form of that op"
        raise ModelError(what, where=where, why=why, hint=hint[0].upper() + hint[1:], code="MODEL-DISTILL-OP")

    def _before(self, node: ir.Node) -> str:
        """The nearest float tensor of the main graph before a node; empty where there is none."""
        todo, seen = list(node.inputs), set[ir.Value | None]()
        while todo:
            value = todo.pop(0)
            made = None if value is None or value in seen else value.producer()
            if value is not None and made is not None and value.name in self.sizes and home_node(made) is not None:
                return value.name
            seen.add(value)
            todo += list(made.inputs) if made is not None else []
        return next(reversed(self.sizes), "") if self._scope is not self._whole else ""

    def _view(self, node: ir.Node, slots: list[Slot | None]) -> OpNode:
        attributes = {name: a.value for name, a in node.attributes.items() if not a.is_ref()}
        if node.op_type == "QuantizeLinear":
            attributes["grid_type"] = _grid_type(node)
        used = [i for i, out in enumerate(node.outputs) if out.name and (out.uses() or out.is_graph_output())]
        return OpNode(
            name=_name(node),
            op_type=node.op_type,
            opset=self.opset(node),
            attributes=attributes,
            shapes=tuple(None if s is None else s.shape for s in slots),
            dtypes=tuple(None if s is None else s.dtype for s in slots),
            constants=tuple(s.example if s is not None and s.constant else None for s in slots),
            kinds=tuple(None if v is None or v.dtype is None else int(v.dtype) for v in node.inputs),
            outputs=max(used, default=0) + 1,
            parts=len(node.outputs),
            training=self._training and node not in self._held,
        )

    def _release(self, value: ir.Value | None) -> None:
        """Drop an example after its last use, so that the walk holds no more than a forward pass.

        What a subgraph takes from outside, and the constants in it, are needed again at the next turn.
        """
        if value is None or value not in self._slots or self._slots[value].proxy is None:
            return
        if value.graph is not self._scope or (self._scope is not self._whole and stored(value) is not None):
            return
        self._left[value] = self._left.get(value, len(value.uses()) + value.is_graph_output()) - 1
        if self._left[value] == 0:
            self._drop(self._slots[value])

    def _drop(self, slot: Slot) -> None:
        """Forget an example, and give freed memory back now and then: in pieces it would add up to far more."""
        self._freed += 0 if slot.example is None else slot.example.nbytes
        slot.example = None
        if self._freed > _FREED:
            self._freed = 0
            give_back()


def _size(node: ir.Node, slot: Slot | None) -> torch.Tensor:
    shape = () if slot is None else slot.shape
    if node.op_type == "Size":
        return torch.tensor(torch.Size(shape).numel(), dtype=torch.int64)
    start, end = graph.attribute(node, "start", 0), graph.attribute(node, "end")
    return torch.tensor(shape[start:end], dtype=torch.int64)


def _grid_type(node: ir.Node) -> int:
    """The element type that a QuantizeLinear makes."""
    if len(node.inputs) > 2 and node.inputs[2] is not None and node.inputs[2].dtype is not None:
        return int(node.inputs[2].dtype)
    return int(graph.attribute(node, "output_dtype", 0) or ir.DataType.UINT8)


def _name(node: ir.Node) -> str:
    return node.name or (node.outputs[0].name or "")


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple | list) else (result,)
