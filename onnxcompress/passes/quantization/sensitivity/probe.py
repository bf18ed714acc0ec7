"""One session in which any choice of tensors can be switched to int8, so that trying a tensor costs one run.

Every candidate tensor x becomes ``If(flag_x) then DQ(Q(x)) else x``, and every weight that meets it likewise, with the
flags as extra inputs. Only the chosen branches are computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.graph import add_initializer, all_names, clone, fresh_name
from onnxcompress.passes.quantization.linear import linear_of
from onnxcompress.passes.quantization.placement.plan import Plan
from onnxcompress.passes.quantization.scales import Grid, quantized_weight, weight_scales
from onnxcompress.runtime import Session, feeds_of, one_thread, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.verify.numbers import is_numeric
from onnxcompress.verify.producers import comparable

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context


class Probe:
    """Runs the model with some tensors in int8 and the rest in float.

    Args:
        model: The float model; it is not edited.
        plan: Where the pairs would go.
        grids: By the tensor that leads a group.
        tried: Leading tensors that get a switch.
        ctx: Runtime options.
        samples: What the outputs are compared on.
    """

    def __init__(
        self,
        model: ir.Model,
        plan: Plan,
        grids: Mapping[str, Grid],
        tried: Sequence[str],
        ctx: Context,
        samples: DataSource,
    ) -> None:
        part, _ = runnable_part(model, ctx.runtime)
        switched = clone(part)
        self._flags = _Switches(switched, plan, grids).build(tried)
        names = comparable(part)
        self._session = Session(switched, one_thread(ctx.runtime), taps=names)
        self._feeds = [feeds.arrays for feeds in feeds_of(part, samples, batch=len(samples))]
        self._outputs = self._numbers(names)
        self._reference = [self._run(feeds, ()) for feeds in self._feeds] if self._outputs else []

    def _numbers(self, names: Sequence[str]) -> list[str]:
        """Those that are tensors of numbers: no sequences, no strings."""
        found = self._session.run({**self._feeds[0], **self._switched(())}, names)
        return [name for name in names if is_tensor(found[name]) and is_numeric(found[name])]

    @property
    def blind(self) -> bool:
        """True where the model has no float tensor to compare at."""
        return not self._outputs

    def change(self, chosen: Sequence[str]) -> float:
        """Relative L2 change of the outputs with the tensors led by `chosen` in int8."""
        errors, energies = np.zeros(len(self._outputs)), np.zeros(len(self._outputs))
        for feeds, reference in zip(self._feeds, self._reference, strict=True):
            for i, (y, wanted) in enumerate(zip(self._run(feeds, chosen), reference, strict=True)):
                errors[i] += np.square(y - wanted).sum()
                energies[i] += np.square(wanted).sum()
        alive = energies > 0
        return float(np.sqrt((errors[alive] / energies[alive]).mean())) if alive.any() else 0.0

    def _run(self, feeds: Mapping[str, np.ndarray], chosen: Sequence[str]) -> list[np.ndarray]:
        found = self._session.run({**feeds, **self._switched(chosen)}, self._outputs)
        return [found[name].astype(np.float64) for name in self._outputs]

    def _switched(self, chosen: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: np.array(root in chosen) for root, name in self._flags.items()}


class _Switches:
    """Puts the switches into a working copy."""

    def __init__(self, model: ir.Model, plan: Plan, grids: Mapping[str, Grid]) -> None:
        self.model, self.graph, self.plan, self.grids = model, model.graph, plan, grids
        self.taken = all_names(model)
        self.values = {v.name: v for v in model.graph.inputs} | {
            o.name: o for node in model.graph for o in node.outputs if o.name
        }
        self.nodes = {node.outputs[0].name: node for node in model.graph}

    def build(self, tried: Sequence[str]) -> dict[str, str]:
        """The flag's input name for each leading tensor."""
        groups = self.plan.members()
        flags = {root: self._flag(root) for root in tried}
        for root in tried:
            weights = [n for name in groups[root] for n in self._weighted(name)]
            for name in groups[root]:
                self._tensor(name, flags[root], self.grids[root])
            for node in weights:
                self._weight(node, flags[root])
        return {root: flag.name or "" for root, flag in flags.items()}

    def _flag(self, root: str) -> ir.Value:
        name = fresh_name(self.taken, f"{root}_flag")
        flag = ir.Value(name=name, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
        self.graph.inputs.append(flag)
        return flag

    def _weighted(self, name: str) -> list[ir.Node]:
        """Nodes of the plan that multiply the tensor by a constant."""
        readers = [node for node, index in self.plan.pairs[name].readers if index < 2]
        heavy = {c.node for c in self.plan.linear if c.weight is not None}
        return [self.nodes[node.outputs[0].name] for node in readers if node in heavy]

    def _tensor(self, name: str, flag: ir.Value, grid: Grid) -> None:
        value = self.values[name]
        pair = self.plan.pairs[name]
        uses = [(use.node, use.idx) for use in value.uses()]
        if not pair.sealed:
            wanted = {(node.outputs[0].name, index) for node, index in pair.readers}
            uses = [(node, index) for node, index in uses if (node.outputs[0].name, index) in wanted]
        switched = self._switch(value, flag, grid)
        for node, index in uses:
            node.replace_input_with(index, switched)
        if pair.sealed and value.is_graph_output():
            value.name, switched.name = fresh_name(self.taken, f"{name}_float"), name
            self.graph.outputs[list(self.graph.outputs).index(value)] = switched

    def _weight(self, node: ir.Node, flag: ir.Value) -> None:
        linear = linear_of(node)
        if linear.weight is None:
            return
        value = linear.value(linear.weight)
        array = np.asarray(value.const_value.numpy()) if value.const_value is not None else None
        if array is None:
            return
        scales = weight_scales(array, linear.axis)
        rounded = quantized_weight(array, scales, linear.axis)
        shape = [1] * array.ndim
        if linear.axis is not None:
            shape[linear.axis] = -1
        other = add_initializer(
            self.graph,
            fresh_name(self.taken, f"{value.name}_rounded"),
            (rounded * scales.reshape(shape)).astype(array.dtype),
        )
        node.replace_input_with(linear.weight, self._choice(value, flag, [], other, node))

    def _switch(self, value: ir.Value, flag: ir.Value, grid: Grid) -> ir.Value:
        names = [fresh_name(self.taken, f"{value.name}_{part}") for part in ("scale", "zero_point")]
        constants = [add_initializer(self.graph, n, a) for n, a in zip(names, (grid.scale, grid.zero), strict=True)]
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
