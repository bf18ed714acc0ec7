"""int4 and float8 in place of a float weight: how the scales lie, and the nodes that read them.

int4: the factor of a product and recurrent weights have one scale for each block of indices along the axis that is
summed over; filters have one scale each. float8: one scale for each channel. Both stand behind a DequantizeLinear, or,
as ``matmulnbits``, in ONNX Runtime's own MatMulNBits: B[n, block] holds two numbers a byte, the earlier one in the low
half, q + 8 each, so that 8 stands for zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, attribute, fresh_name, label
from onnxcompress.passes.quantization.integer_weights import Weight
from onnxcompress.passes.quantization.kinds import WeightKind
from onnxcompress.passes.quantization.scales import clip_of, stored_form

_LEAST_BLOCK = 16
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Narrow:
    """What narrow weights look like.

    Attributes:
        kind: int4 or float8.
        block: Indices that share a scale, for int4.
        form: ``qdq`` or ``matmulnbits``.
        clip: ``auto``, ``none`` or ``mse``.
        whole_blocks: The target reads no short last block.
    """

    kind: WeightKind
    block: int = 32
    form: str = "qdq"
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
    if narrow.form == "matmulnbits" and axis == 0 and _products(weight.value) and _power_of_two(block):
        _products_of_bits(graph, taken, weight.value, name, numbers, scales, block)
        return
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


def _products(value: ir.Value) -> bool:
    """Whether only MatMul nodes read the value, each as its right factor."""
    return all(use.node.op_type == "MatMul" and use.idx == 1 for use in value.uses())


def _power_of_two(block: int) -> bool:
    return block >= _LEAST_BLOCK and not block & (block - 1)


def packed(numbers: np.ndarray, block: int) -> np.ndarray:
    """int4 [K, N] as MatMulNBits wants them: uint8 [N, blocks, block / 2]; what is missing in the last block is 0."""
    depth, width = numbers.shape
    filled = np.zeros((width, depth + -depth % block), np.uint8)
    filled[:, :depth] = numbers.T.astype(np.int8)
    nibbles = (filled + np.uint8(8)) & np.uint8(15)
    pairs = nibbles.reshape(width, -1, block // 2, 2)
    return pairs[..., 0] | (pairs[..., 1] << np.uint8(4))


def _products_of_bits(
    graph: ir.Graph, taken: set[str], value: ir.Value, name: str, numbers: np.ndarray, scales: np.ndarray, block: int
) -> None:
    depth, width = numbers.shape
    weights = _constant(graph, taken, f"{name}_packed", packed(numbers, block))
    steps = _constant(graph, taken, f"{name}_scale", np.ascontiguousarray(scales.T))
    graph.opset_imports.setdefault(_MICROSOFT, 1)
    sizes = {"K": depth, "N": width, "bits": 4, "block_size": block}
    for use in list(value.uses()):
        old = use.node
        new = ir.Node(
            _MICROSOFT, "MatMulNBits", [old.inputs[0], weights, steps],
            [ir.AttrInt64(k, v) for k, v in sizes.items()], outputs=[ir.Value()],
        )  # fmt: skip
        _take_place(graph, old, new)


def _take_place(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put `new` where `old` stands, under its names."""
    before, after = old.outputs[0], new.outputs[0]
    after.shape, after.type, new.name = before.shape, before.type, old.name
    graph.insert_before(old, new)
    for reader, index in [(use.node, use.idx) for use in before.uses()]:
        reader.replace_input_with(index, after)
    for i, output in enumerate(graph.outputs):
        if output is before:
            graph.outputs[i] = after
    name = before.name
    graph.remove(old, safe=True)
    after.name = name
    after.metadata_props.update(before.metadata_props)
