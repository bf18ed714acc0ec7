"""Write a plan into the graph: Q/DQ pairs on tensors, integer weights and biases in place of float ones.

The tensor ``x`` keeps its name; its pair adds ``x_quantized`` and ``x_dequantized``. Where ``x`` is a graph output
whose producer is to write integers, or a node that ONNX Runtime lacks reads it, the dequantized tensor takes over the
name, and the float one becomes ``x_float``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, attribute, fresh_name, label, tensor_of
from onnxcompress.passes.quantization.bias import bias_scale, least_weight_scale, quantized_bias
from onnxcompress.passes.quantization.fixed_point import power_of_two, truncated
from onnxcompress.passes.quantization.kinds import weight_kind
from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.plan import Pair, Plan, Use
from onnxcompress.passes.quantization.scales import (
    Grid,
    activation_grid,
    clip_of,
    levels,
    quantized_weight,
    stored_form,
    weight_scales,
)
from onnxcompress.targets import Target


class Editor:
    """Edits one model.

    Args:
        model: The model, edited in place.
        target: Rules for weights and biases.
        per_channel: One weight scale for each channel, where the target allows it.
        clip: How weight scales are chosen, ``none``, ``mse``, or ``auto``: mse below 8 bits.
        low_bits: Weights go to the nearest integer (``round``) or towards zero (``truncate``).
        live: Names of the tensors that ONNX Runtime can compute; None where it runs the whole model.
    """

    def __init__(
        self,
        model: ir.Model,
        target: Target,
        *,
        per_channel: bool = True,
        clip: str = "auto",
        low_bits: str = "round",
        live: Collection[str] | None = None,
    ) -> None:
        self._live, self._low_bits = live, low_bits
        self.model, self.graph, self.target = model, model.graph, target
        self.per_channel, self.clip = per_channel and target.per_channel, clip
        self.kind = weight_kind(target.weight_dtype, reduce_range=target.reduce_range)
        self.taken = all_names(model)
        self._weights: dict[tuple[str, int | None, bytes], ir.Value] = {}

    def apply(self, plan: Plan, grids: Mapping[str, Grid]) -> None:
        """Insert the plan's pairs with the scales in `grids` (by tensor name), then the weights and biases."""
        inputs = [grids[plan.root(_data_name(linear))].scale for linear in plan.linear]
        scales = self._shared_scales(plan, grids)
        for name, pair in plan.pairs.items():
            self._pair(pair, *scales[plan.root(name)])
        for node, index in plan.constants:
            self._constant(node, index)
        for linear, scale in zip(plan.linear, inputs, strict=True):
            self.weights(linear, scale)

    def _constant(self, node: ir.Node, index: int) -> None:
        """Store a constant that is no weight as integers of the activations' type, with one scale over its range."""
        value = node.inputs[index]
        assert value is not None
        array = _array(value)
        low, high = min(float(array.min(initial=0)), 0.0), max(float(array.max(initial=0)), 0.0)
        kind, symmetric = self.target.activation_dtype, self.target.activation_symmetric
        grid = activation_grid(low, high, kind, symmetric=symmetric, kind=array.dtype)
        limits = np.iinfo(grid.zero.dtype)
        steps = np.round(array.astype(np.float64) / float(grid.scale)) + int(grid.zero)
        numbers = np.asarray(np.clip(steps, limits.min, limits.max), grid.zero.dtype)
        name = value.name or label(node)
        node.replace_input_with(index, self._dequantized(name, numbers, grid.scale, grid.zero, None, node))

    def weights(self, linear: Linear, input_scale: np.ndarray | None) -> None:
        """Store the node's weight, and its bias as int32 where the target wants that and the scale is known."""
        if linear.weight is None:
            return
        value = linear.value(linear.weight)
        array = _array(value)
        if array.dtype.name not in ("float32", "float16"):
            return
        channels = self.per_channel and linear.node.op_type in (self.target.per_channel_ops or (linear.node.op_type,))
        axis = linear.axis if channels else None
        bias = self._integer_bias(linear, array.dtype.name != "float32", input_scale)
        floor = None
        if bias is not None and input_scale is not None:
            least = least_weight_scale(bias, input_scale)
            floor = least if axis is not None else least.max(initial=0.0, keepdims=True)
        numbers, scales = self._form(array, axis, floor)
        stored = self._weight(value, numbers, scales.astype(array.dtype), axis, linear.node)
        linear.node.replace_input_with(linear.weight, stored)
        if bias is not None and input_scale is not None and linear.bias is not None:
            scale = bias_scale(input_scale, scales)
            self._bias(linear, bias, np.broadcast_to(scale, bias.shape) if scale.ndim else scale)

    def _form(self, array: np.ndarray, axis: int | None, floor: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and scales of a weight, as target and user want them."""
        clip = clip_of(self.clip, self.kind)
        if not self.target.power_of_two and self._low_bits == "round":
            return stored_form(array, axis, kind=self.kind, clip=clip, floor=floor)
        scales = weight_scales(array, axis, kind=self.kind, clip=clip, floor=floor)
        scales = power_of_two(scales) if self.target.power_of_two else scales
        array = truncated(array, scales, axis) if self._low_bits == "truncate" else array
        return quantized_weight(array, scales, axis, kind=self.kind), scales

    def _shared_scales(self, plan: Plan, grids: Mapping[str, Grid]) -> dict[str, tuple[ir.Value, ir.Value]]:
        roots = dict.fromkeys(plan.root(name) for name in plan.pairs)
        return {root: self._constants(root, grids[root]) for root in roots}

    def _constants(self, name: str, grid: Grid) -> tuple[ir.Value, ir.Value]:
        parts = ((f"{name}_scale", grid.scale), (f"{name}_zero_point", grid.zero))
        made = [add_initializer(self.graph, fresh_name(self.taken, base), array) for base, array in parts]
        return made[0], made[1]

    def _pair(self, pair: Pair, scale: ir.Value, zero: ir.Value) -> None:
        value = pair.value
        uses = [(use.node, use.idx) for use in value.uses()] if pair.sealed else pair.readers
        name = value.name or ""
        output = pair.sealed and (value.is_graph_output() or self._leaves(uses))
        if output:
            value.name = fresh_name(self.taken, f"{name}_float")
        quantized = ir.Value(name=fresh_name(self.taken, f"{name}_quantized"), shape=value.shape)
        quantized.type = ir.TensorType(zero.const_value.dtype) if zero.const_value is not None else None
        final = name if output else fresh_name(self.taken, f"{name}_dequantized")
        restored = ir.Value(name=final, shape=value.shape, type=value.type)
        nodes = [
            ir.Node("", "QuantizeLinear", [value, scale, zero], outputs=[quantized]),
            ir.Node("", "DequantizeLinear", [quantized, scale, zero], outputs=[restored]),
        ]
        self._insert(value, nodes, name)
        for node, index in uses:
            node.replace_input_with(index, restored)
        if output:
            self._output(value, restored)

    def _leaves(self, uses: list[Use]) -> bool:
        """Whether a node that ONNX Runtime lacks reads the tensor: that node stays byte for byte, names and all."""
        return self._live is not None and any(o.name not in self._live for node, _ in uses for o in node.outputs)

    def _insert(self, value: ir.Value, nodes: list[ir.Node], name: str) -> None:
        for node in nodes:
            node.name = fresh_name(self.taken, f"{name}_{node.op_type}")
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], nodes)
        else:
            self.graph.insert_after(producer, nodes)

    def _output(self, old: ir.Value, new: ir.Value) -> None:
        for i, value in enumerate(self.graph.outputs):
            if value is old:
                self.graph.outputs[i] = new
        new.metadata_props.update(old.metadata_props)

    def _integer_bias(self, linear: Linear, half: bool, input_scale: np.ndarray | None) -> np.ndarray | None:
        """The bias, where it becomes int32: beside 8-bit factors alone, and for ONNX Runtime with no other factor."""
        if self.target.bias != "int32" or input_scale is None or linear.bias is None or half:
            return None
        if self.kind.name != "int8" or levels(self.target.activation_dtype) > 256:
            return None
        if attribute(linear.node, "alpha", 1.0) != 1.0 or attribute(linear.node, "beta", 1.0) != 1.0:
            return None
        bias = _array(linear.value(linear.bias))
        channels = _channels(linear)
        whole = bias.size == channels and bias.shape[-1:] == (channels,)  # a Gemm may also add a number a row, or one
        return bias.reshape(-1) if bias.dtype.name == "float32" and whole and np.isfinite(bias).all() else None

    def _weight(
        self, value: ir.Value, numbers: np.ndarray, scales: np.ndarray, axis: int | None, reader: ir.Node
    ) -> ir.Value:
        """The dequantized weight; readers with the same scales share it."""
        key = (value.name or "", axis, scales.tobytes())
        if key not in self._weights:
            name = value.name or label(reader)
            zero = np.zeros(scales.shape, numbers.dtype)
            self._weights[key] = self._dequantized(name, numbers, scales, zero, axis, reader)
        return self._weights[key]

    def _bias(self, linear: Linear, bias: np.ndarray, scale: np.ndarray) -> None:
        assert linear.bias is not None
        value = linear.value(linear.bias)
        scale = scale.reshape(-1) if scale.ndim else scale
        axis = 0 if scale.ndim else None
        restored = self._dequantized(
            value.name or label(linear.node),
            quantized_bias(bias, scale).reshape(-1),
            scale,
            None,
            axis,
            linear.node,
        )
        linear.node.replace_input_with(linear.bias, restored)

    def _dequantized(
        self,
        name: str,
        numbers: np.ndarray,
        scale: np.ndarray,
        zero: np.ndarray | None,
        axis: int | None,
        reader: ir.Node,
    ) -> ir.Value:
        """Initializers for integers, scale and zero point (none is 0), and their DequantizeLinear before `reader`."""
        parts = [(f"{name}_quantized", numbers), (f"{name}_scale", scale)]
        parts += [] if zero is None else [(f"{name}_zero_point", zero)]
        inputs = [add_initializer(self.graph, fresh_name(self.taken, base), array) for base, array in parts]
        kind = inputs[1].type  # the result has its scale's type; a Constant node's output may declare none
        out = ir.Value(name=fresh_name(self.taken, f"{name}_dequantized"), shape=ir.Shape(numbers.shape), type=kind)
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        node = ir.Node("", "DequantizeLinear", inputs, attributes, outputs=[out])
        node.name = fresh_name(self.taken, f"{name}_DequantizeLinear")
        self.graph.insert_before(reader, [node])
        return out


def _data_name(linear: Linear) -> str:
    return linear.value(linear.data[0]).name or ""


def _channels(linear: Linear) -> int:
    """Output channels of the node."""
    assert linear.weight is not None
    shape = _array(linear.value(linear.weight)).shape
    if linear.node.op_type == "ConvTranspose":
        return shape[1] * attribute(linear.node, "group", 1)
    return shape[linear.axis] if linear.axis is not None else -1


def _array(value: ir.Value) -> np.ndarray:
    tensor = tensor_of(value)
    assert tensor is not None
    return tensor.numpy()


def drop_unused(model: ir.Model) -> None:
    """Remove initializers and Constant nodes of the main graph that nothing reads any more."""
    graph = model.graph
    for node in reversed(list(graph)):
        if node.op_type == "Constant" and not any(o.uses() or o.is_graph_output() for o in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
