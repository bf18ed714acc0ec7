"""int4 and float8 in place of a float weight: how the scales lie, and the nodes that read them.

int4: the factor of a product and recurrent weights have one scale for each block of indices along the axis that is
summed over; filters have one scale each. float8: one scale for each channel. Both stand behind a DequantizeLinear
(`products_of_bits` makes ONNX Runtime's own MatMulNBits of it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, attribute, fresh_name, label
from onnxcompress.passes.quantization.integer_weights import Weight
from onnxcompress.passes.quantization.kinds import WeightKind
from onnxcompress.passes.quantization.scales import clip_of, stored_form


@dataclass(frozen=True)
class Narrow:
    """What narrow weights look like.

    Attributes:
        kind: int4 or float8.
        block: Indices that share a scale, for int4.
        clip: ``auto``, ``none`` or ``mse``.
        whole_blocks: The target reads no short last block, and 4-bit numbers in pairs along the last axis alone.
    """

    kind: WeightKind
    block: int = 32
    clip: str = "auto"
    whole_blocks: bool = False

    def layout(self, weight: Weight, shape: tuple[int, ...]) -> tuple[int | None, int]:
        """Axis and block of the scales; block 0 for one scale for each index of the axis."""
        summed = _summed_axis(weight, len(shape))
        channel = None if weight.axis is None else weight.axis % len(shape)
        if not self.kind.integer or summed is None or shape[summed] < self.block:
            return channel, 0
        if self.whole_blocks and shape[summed] % self.block:
            return channel, 0
        return summed, self.block

    def is_odd(self, shape: tuple[int, ...]) -> bool:
        """Whether the target cannot read a weight of this shape in 4 bits."""
        return self.whole_blocks and self.kind.bits == 4 and bool(shape) and shape[-1] % 2 == 1

    def saved(self, weight: Weight, shape: tuple[int, ...], wide: float) -> int:
        """Bytes that the file loses, apart from nodes and names; `wide` is what one element takes today."""
        axis, block = self.layout(weight, shape)
        size = int(np.prod(shape, dtype=np.int64))
        scales = 1 if axis is None else (size // shape[axis] * -(-shape[axis] // block) if block else shape[axis])
        return int(size * wide - size * self.kind.bits / 8 - scales * (wide + 1))


def _summed_axis(weight: Weight, rank: int) -> int | None:
    """The axis of the weight that the product sums over, where blocks go along it."""
    node = weight.reader
    if weight.rows:
        return rank - 1
    if rank != 2 or node.op_type not in ("MatMul", "Gemm") or node.inputs[1] is not weight.value:
        return None
    return 1 if node.op_type == "Gemm" and attribute(node, "transB", 0) else 0


def write_narrow(graph: ir.Graph, taken: set[str], weight: Weight, array: np.ndarray, narrow: Narrow) -> None:
    """Replace one float weight for all of its readers."""
    axis, block = narrow.layout(weight, array.shape)
    numbers, scales = stored_form(array, axis, kind=narrow.kind, block=block, clip=clip_of(narrow.clip, narrow.kind))
    scales = scales.astype(array.dtype)
    name = weight.value.name or label(weight.reader)
    inputs = [_constant(graph, taken, f"{name}_quantized", numbers), _constant(graph, taken, f"{name}_scale", scales)]
    given = {"axis": axis, "block_size": block or None}
    attributes = [ir.AttrInt64(k, v) for k, v in given.items() if v is not None]
    out = ir.Value(name=fresh_name(taken, f"{name}_dequantized"), shape=ir.Shape(array.shape), type=inputs[1].type)
    node = ir.Node("", "DequantizeLinear", inputs, attributes, outputs=[out])
    node.name = fresh_name(taken, f"{out.name}_DequantizeLinear")
    uses = [(use.node, use.idx) for use in weight.value.uses()]
    graph.insert_before(graph[0], node)
    for reader, index in uses:
        reader.replace_input_with(index, out)


def _constant(graph: ir.Graph, taken: set[str], name: str, array: np.ndarray) -> ir.Value:
    return add_initializer(graph, fresh_name(taken, name), array)
