"""Puts int8 in place of one float weight.

The weight becomes DequantizeLinear(q, s), or, for a target that would run that at every inference and cannot lay such a
weight out in advance (ONNX Runtime: `Target.fold_weights`), Mul(Cast(q), s): the same numbers, which it folds into a
plain float weight while it loads the model, so that the node runs as fast as before. A table is gathered as integers
and dequantized after, in either case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, fresh_name, label, tensor_of
from onnxcompress.passes.quantization.scales import quantized_weight, relative_error, weight_scales
from onnxcompress.targets import Target


@dataclass(frozen=True)
class Weight:
    """A constant worth quantizing.

    Attributes:
        value: The float constant.
        axis: Axis with one scale for each index; None for one scale.
        reader: First node that reads it as a weight.
        table: Only Gather nodes read it, along axis 0.
        rows: Its first two axes, directions and rows of the gates, have one scale for each pair of indices; an axis of
            DequantizeLinear cannot say that of both, so they are stored as one.
    """

    value: ir.Value
    axis: int | None
    reader: ir.Node
    table: bool = False
    rows: bool = False


class WeightWriter:
    """Puts integers in place of weights.

    Args:
        model: The model, edited in place.
        target: In which form it wants them. They always have 8 bits: no integer product can overflow.
        per_channel: One scale for each channel.
        clip: How a channel's scale is chosen, ``none`` or ``mse``.
    """

    def __init__(self, model: ir.Model, target: Target, *, per_channel: bool, clip: str) -> None:
        self.graph, self.folds = model.graph, target.fold_weights
        self.per_channel, self.clip = per_channel, clip
        self.taken = all_names(model)

    def replace(self, weight: Weight, most_error: float) -> tuple[str, str] | None:
        """Replace one weight for all of its readers, unless int8 changes it by more than `most_error` (relative).

        Returns:
            Reason code and sentence where it stays float.
        """
        tensor = tensor_of(weight.value)
        assert tensor is not None
        array = tensor.numpy()
        rows = weight.rows and self.per_channel
        flat = array.reshape(-1, array.shape[-1]) if rows else array
        axis = (0 if rows else weight.axis) if self.per_channel else None
        axis = axis % flat.ndim if axis is not None else None
        scales = weight_scales(flat, axis, clip=self.clip)
        numbers = quantized_weight(flat, scales, axis)
        error = relative_error(flat, numbers, scales, axis) if most_error < math.inf else 0.0
        if error > most_error:
            return "QUANT-INEXACT", f"weight left float: int8 would change it by {error:.1%}"
        if rows and (self.folds or array.shape[0] == 1):
            numbers = numbers.reshape(array.shape)  # a product broadcasts over any axes, and one direction needs none
            axis = None if self.folds else 1
        scales = scales.astype(array.dtype)
        name = weight.value.name or label(weight.reader)
        if weight.table:
            self._after_gathers(weight.value, self._constants(name, numbers, scales), axis)
        elif self.folds:
            shape = (*array.shape[:2], 1) if rows else [-1 if i == axis else 1 for i in range(array.ndim)]
            self._before(weight.value, self._product(name, numbers, scales.reshape(shape)), array.shape)
        else:
            self._before(weight.value, self._pair(name, numbers, scales, axis, array.shape), array.shape)
        return None

    def _constants(self, name: str, numbers: np.ndarray, scales: np.ndarray) -> list[ir.Value]:
        zero = np.zeros(scales.shape, np.int8)
        parts = (("quantized", numbers), ("scale", scales), ("zero_point", zero))
        return [self._initializer(f"{name}_{part}", array) for part, array in parts]

    def _initializer(self, name: str, array: np.ndarray) -> ir.Value:
        return add_initializer(self.graph, fresh_name(self.taken, name), array)

    def _product(self, name: str, numbers: np.ndarray, scales: np.ndarray) -> list[ir.Node]:
        stored, scale = self._initializer(f"{name}_quantized", numbers), self._initializer(f"{name}_scale", scales)
        assert scale.dtype is not None
        cast = self._node("Cast", [stored], f"{name}_cast", scale, [ir.AttrInt64("to", scale.dtype)])
        return [cast, self._node("Mul", [cast.outputs[0], scale], f"{name}_dequantized", scale)]

    def _pair(
        self, name: str, numbers: np.ndarray, scales: np.ndarray, axis: int | None, shape: tuple[int, ...]
    ) -> list[ir.Node]:
        """A DequantizeLinear, and a Reshape where the integers are stored in another shape than the weight's."""
        constants = self._constants(name, numbers, scales)
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        nodes = [self._node("DequantizeLinear", constants, f"{name}_dequantized", constants[1], attributes)]
        if numbers.shape != shape:
            sizes = self._initializer(f"{name}_shape", np.array(shape, np.int64))
            nodes.append(self._node("Reshape", [nodes[0].outputs[0], sizes], f"{name}_shaped", constants[1]))
        return nodes

    def _node(
        self, op: str, inputs: list[ir.Value], name: str, like: ir.Value, attributes: Sequence[ir.Attr] = ()
    ) -> ir.Node:
        out = ir.Value(name=fresh_name(self.taken, name), type=like.type)
        node = ir.Node("", op, inputs, attributes, outputs=[out])
        node.name = fresh_name(self.taken, f"{out.name}_{op}")
        return node

    def _before(self, value: ir.Value, nodes: list[ir.Node], shape: tuple[int, ...]) -> None:
        """Put `nodes`, the last of which yields the weight of this shape, at the head of the graph."""
        uses = [(use.node, use.idx) for use in value.uses()]
        self.graph.insert_before(self.graph[0], nodes)
        nodes[-1].outputs[0].shape = ir.Shape(shape)
        for reader, index in uses:
            reader.replace_input_with(index, nodes[-1].outputs[0])

    def _after_gathers(self, table: ir.Value, constants: list[ir.Value], axis: int | None) -> None:
        for use in list(table.uses()):
            gather, old = use.node, use.node.outputs[0]
            name = old.name or ""
            restored = ir.Value(name=None, shape=old.shape, type=old.type)
            readers = [(u.node, u.idx) for u in old.uses()]
            gather.replace_input_with(0, constants[0])
            old.name = fresh_name(self.taken, f"{name}_quantized")
            old.type = ir.TensorType(ir.DataType.INT8)
            restored.name = name
            self.graph.insert_after(
                gather, self._dequantize([old, *constants[1:]], -1 if axis is not None else None, restored)
            )
            for reader, index in readers:
                reader.replace_input_with(index, restored)
            for i, output in enumerate(self.graph.outputs):
                if output is old:
                    self.graph.outputs[i] = restored

    def _dequantize(self, inputs: list[ir.Value], axis: int | None, out: ir.Value) -> ir.Node:
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        node = ir.Node("", "DequantizeLinear", inputs, attributes, outputs=[out])
        node.name = fresh_name(self.taken, f"{out.name}_DequantizeLinear")
        return node
