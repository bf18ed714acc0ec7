"""One session in which any choice of tensors and weights can be switched to integers, on any grid.

Every tensor x of the plan becomes ``If(flag_x) then DQ(Q(x, scale_x, zero_x)) else x`` with the flag, the scale and
the zero point as extra inputs, and every weight that meets one becomes ``If(flag) then rounded else as it was``. Only
the chosen branches are computed, so that trying a tensor, a range or a combination costs one run and no new session.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.graph import add_initializer, all_names, clone, fresh_name, label
from onnxcompress.passes.quantization.kinds import WeightKind, weight_kind
from onnxcompress.passes.quantization.linear import linear_of
from onnxcompress.passes.quantization.placement.plan import Plan
from onnxcompress.passes.quantization.scales import Grid, clip_of, expanded, stored_form
from onnxcompress.passes.quantization.sensitivity.error import Reference
from onnxcompress.runtime import Session, feeds_of, in_order, one_thread, runnable_part, runs_at_once
from onnxcompress.runtime.session import is_tensor
from onnxcompress.verify.numbers import is_numeric
from onnxcompress.verify.producers import comparable

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

_BATCH = 8  # samples in one run: what is held at once stays small


class Probe:
    """Runs the model with some tensors and weights in integers and the rest in float.

    Args:
        model: The float model; it is not edited.
        plan: Where the pairs would go.
        grids: By the tensor that leads a group; their types are fixed, scales and zero points can be replaced.
        ctx: Runtime options.
        samples: What the outputs are compared on.
        per_channel: One weight scale for each channel.
    """

    def __init__(
        self,
        model: ir.Model,
        plan: Plan,
        grids: Mapping[str, Grid],
        ctx: Context,
        samples: DataSource,
        *,
        per_channel: bool = True,
    ) -> None:
        part, _ = runnable_part(model, ctx.runtime)
        switched = clone(part)
        self._grids = dict(grids)
        kind = weight_kind(ctx.target.weight_dtype, reduce_range=ctx.target.reduce_range)
        per_channel = per_channel and ctx.target.per_channel
        self._switches = Switches(switched, plan, grids, per_channel=per_channel, kind=kind)
        names = comparable(part)
        self._session = Session(switched, one_thread(ctx.runtime), taps=names)
        runs = list(feeds_of(part, samples, batch=_BATCH))
        self._feeds = [feeds.arrays for feeds in runs]
        self._names = self._numbers(names)
        self.evaluations, self._at_once = 0, runs_at_once(ctx.runtime)
        self.reference = Reference(self._run((), (), {}), [len(feeds.indices) for feeds in runs])

    @property
    def blind(self) -> bool:
        """True where the model has no float tensor to compare at."""
        return not self._names

    @property
    def tensors(self) -> list[str]:
        """Leading tensors that have a switch, in the order of the graph."""
        return list(self._switches.flags)

    @property
    def weights(self) -> list[str]:
        """Names of the nodes whose weight has a switch, in the order of the graph."""
        return list(self._switches.weights)

    def error(
        self,
        tensors: Collection[str],
        weights: Collection[str] = (),
        grids: Mapping[str, Grid] | None = None,
    ) -> float:
        """Squared relative error of the outputs with these in integers (see `Reference.error`).

        Args:
            tensors: Leading tensors.
            weights: Nodes whose weight is rounded.
            grids: Grids other than those given at first.
        """
        self.evaluations += 1
        return self.reference.error(self._run(tensors, weights, grids or {}))

    def outputs(
        self,
        tensors: Collection[str],
        weights: Collection[str] = (),
        grids: Mapping[str, Grid] | None = None,
    ) -> list[list[np.ndarray]]:
        """The compared tensors, for each run."""
        self.evaluations += 1
        return self._run(tensors, weights, grids or {})

    def _run(
        self, tensors: Collection[str], weights: Collection[str], grids: Mapping[str, Grid]
    ) -> list[list[np.ndarray]]:
        extra = self._switches.feeds(set(tensors), set(weights), {**self._grids, **grids})
        if not self._names:
            return []
        return list(in_order(lambda feeds: self._one(feeds, extra), self._feeds, self._at_once))

    def _one(self, feeds: Mapping[str, np.ndarray], extra: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        found = self._session.run({**feeds, **extra}, self._names)
        return [found[name].astype(np.float64) for name in self._names]

    def _numbers(self, names: Sequence[str]) -> list[str]:
        """Those that are tensors of numbers: no sequences, no strings."""
        extra = self._switches.feeds(set(), set(), self._grids)
        found = self._session.run({**self._feeds[0], **extra}, names)
        return [name for name in names if is_tensor(found[name]) and is_numeric(found[name])]


class Switches:
    """Puts the switches into a working copy.

    Attributes:
        flags: By leading tensor, the names of the inputs for flag, scale and zero point.
        weights: By node, the name of the input for its weight's flag.
    """

    def __init__(
        self, model: ir.Model, plan: Plan, grids: Mapping[str, Grid], *, per_channel: bool, kind: WeightKind
    ) -> None:
        self.graph, self.plan, self.per_channel, self.kind = model.graph, plan, per_channel, kind
        self.taken = all_names(model)
        self.values = {v.name: v for v in model.graph.inputs} | {
            o.name: o for node in model.graph for o in node.outputs if o.name
        }
        self.nodes = {node.outputs[0].name: node for node in model.graph}
        self.flags: dict[str, tuple[str, str, str]] = {}
        self.weights: dict[str, str] = {}
        for root, members in plan.members().items():
            self._group(root, members, grids[root])
        for linear in plan.linear:
            if linear.weight is not None:
                self._weight(self.nodes[linear.node.outputs[0].name])

    def feeds(self, tensors: set[str], weights: set[str], grids: Mapping[str, Grid]) -> dict[str, np.ndarray]:
        """The extra inputs of a run."""
        found = {name: np.array(node in weights) for node, name in self.weights.items()}
        for root, (flag, scale, zero) in self.flags.items():
            found |= {flag: np.array(root in tensors), scale: grids[root].scale, zero: grids[root].zero}
        return found

    def _group(self, root: str, members: Sequence[str], grid: Grid) -> None:
        flag = self._input(f"{root}_flag", ir.DataType.BOOL)
        constants = [self._input(f"{root}_{part}", _kind(a)) for part, a in (("step", grid.scale), ("zero", grid.zero))]
        self.flags[root] = (flag.name or "", constants[0].name or "", constants[1].name or "")
        for name in members:
            self._tensor(name, flag, constants)

    def _input(self, base: str, kind: ir.DataType) -> ir.Value:
        value = ir.Value(name=fresh_name(self.taken, base), shape=ir.Shape([]), type=ir.TensorType(kind))
        self.graph.inputs.append(value)
        return value

    def _tensor(self, name: str, flag: ir.Value, constants: list[ir.Value]) -> None:
        value, pair = self.values[name], self.plan.pairs[name]
        uses = [(use.node, use.idx) for use in value.uses()]
        if not pair.sealed:
            wanted = {(node.outputs[0].name, index) for node, index in pair.readers}
            uses = [(node, index) for node, index in uses if (node.outputs[0].name, index) in wanted]
        switched = self._pair(value, flag, constants)
        for node, index in uses:
            node.replace_input_with(index, switched)
        if pair.sealed and value.is_graph_output():
            value.name, switched.name = fresh_name(self.taken, f"{name}_float"), name
            self.graph.outputs[list(self.graph.outputs).index(value)] = switched

    def _weight(self, node: ir.Node) -> None:
        linear = linear_of(node)
        value = linear.value(linear.weight) if linear.weight is not None else None
        if value is None or value.const_value is None or linear.weight is None:
            return
        array = np.asarray(value.const_value.numpy())
        axis = linear.axis if self.per_channel else None
        numbers, scales = stored_form(array, axis, kind=self.kind, clip=clip_of("auto", self.kind))
        rounded = (numbers.astype(np.float32) * expanded(scales, array.shape, axis)).astype(array.dtype)
        other = add_initializer(self.graph, fresh_name(self.taken, f"{value.name}_rounded"), rounded)
        flag = self._input(f"{label(node)}_weight_flag", ir.DataType.BOOL)
        self.weights[label(node)] = flag.name or ""
        node.replace_input_with(linear.weight, self._choice(value, flag, [], other, node))

    def _pair(self, value: ir.Value, flag: ir.Value, constants: list[ir.Value]) -> ir.Value:
        quantized = ir.Value(name=fresh_name(self.taken, f"{value.name}_quantized"))
        restored = ir.Value(name=fresh_name(self.taken, f"{value.name}_dequantized"))
        nodes = [
            ir.Node("", "QuantizeLinear", [value, *constants], outputs=[quantized]),
            ir.Node("", "DequantizeLinear", [quantized, *constants], outputs=[restored]),
        ]
        return self._choice(value, flag, nodes, restored, value.producer())

    def _choice(
        self, value: ir.Value, flag: ir.Value, nodes: list[ir.Node], result: ir.Value, at: ir.Node | None
    ) -> ir.Value:
        """``If(flag) then result else value``, placed behind the tensor's producer or before the weight's reader."""
        branches = [
            self._branch(nodes, result, f"{value.name}_then"),
            self._branch([], value, f"{value.name}_else"),
        ]
        out = ir.Value(name=fresh_name(self.taken, f"{value.name}_switched"), type=value.type)
        attributes = [
            ir.AttrGraph(name, graph) for name, graph in zip(("then_branch", "else_branch"), branches, strict=True)
        ]
        node = ir.Node("", "If", [flag], attributes, outputs=[out])
        node.name = fresh_name(self.taken, f"{value.name}_If")
        if at is not None and at is value.producer():
            self.graph.insert_after(at, node)
        else:
            self.graph.insert_before(at if at is not None else self.graph[0], node)
        return out

    def _branch(self, nodes: list[ir.Node], result: ir.Value, name: str) -> ir.Graph:
        out = ir.Value(name=fresh_name(self.taken, f"{name}_out"), type=result.type)
        last = ir.Node("", "Identity", [result], outputs=[out])
        return ir.Graph([], [out], nodes=[*nodes, last], opset_imports=self.graph.opset_imports, name=name)


def _kind(array: np.ndarray) -> ir.DataType:
    return ir.DataType.from_numpy(array.dtype)
