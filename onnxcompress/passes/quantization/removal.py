"""Q/DQ nodes taken out of a graph; see the pass `remove-qdq` for what takes their place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import (
    add_initializer,
    all_names,
    array_of,
    attribute,
    fresh_name,
    iter_nodes,
    label,
    opset,
    tensor_of,
)
from onnxcompress.passes.quantization.already import refuse_integer_operators
from onnxcompress.passes.quantization.edit import drop_unused
from onnxcompress.report import Finding, Severity

_NOT_NEGATIVE = ("Relu", "Clip", "Sigmoid", "Softmax", "HardSigmoid", "Abs", "Sqrt", "Exp", "DequantizeLinear")
_CLIP_BY_INPUTS = 11  # the operator set from which Clip takes its limits as inputs
_MOVES = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "Slice", "Identity", "Split", "Gather")


def remove_pairs(model: ir.Model) -> Iterator[Finding]:
    """Edit `model` and yield the findings.

    Raises:
        ModelError: Where it holds operators that compute on integers (QLinearConv, ...).
    """
    refuse_integer_operators(model)
    remover = _Remover(model)
    constants = pairs = 0
    for node in [n for n in iter_nodes(model) if n.op_type == "DequantizeLinear" and n.domain in ("", "ai.onnx")]:
        done = remover.constant(node)
        constants += done
        if not done:
            pairs += remover.pair(node)
    drop_unused(model)
    yield from _left(model)
    severity = Severity.INFO if constants + pairs else Severity.WARNING
    message = f"{pairs} pairs on tensors removed, {constants} constants made float"
    yield Finding("QDQ-REMOVED", message, severity=severity, numbers={"pairs": pairs, "constants": constants})


class _Remover:
    """Takes single nodes out of one model."""

    def __init__(self, model: ir.Model) -> None:
        self.model, self.taken = model, all_names(model)

    def constant(self, node: ir.Node) -> bool:
        """Replace a dequantized constant by its numbers; False where it is none."""
        source, through = node.inputs[0], _quantizer(node)
        if through is not None and (wide := array_of(through.inputs[0])) is not None:
            return self._replace(node, wide)
        if tensor_of(source) is None:
            return False
        numbers = dequantized(node)
        return numbers is not None and self._replace(node, numbers)

    def pair(self, node: ir.Node) -> bool:
        """Let the readers of a pair read the tensor itself; False where the two do not belong together."""
        quantizer = _quantizer(node)
        if quantizer is None or not _equal_grids(quantizer, node):
            return False
        source, out = quantizer.inputs[0], node.outputs[0]
        assert source is not None
        kept = self._clipped(node, source) if _clips(quantizer, source) else source
        self._pass_on(node, out, kept)
        if not quantizer.outputs[0].uses() and quantizer.graph is not None:
            quantizer.graph.remove(quantizer, safe=True)
        return True

    def _replace(self, node: ir.Node, numbers: np.ndarray) -> bool:
        graph = self.model.graph
        base = (node.outputs[0].name or "weight").removesuffix("_dequantized") + "_float"
        value = add_initializer(graph, fresh_name(self.taken, base), numbers)
        self._pass_on(node, node.outputs[0], value)
        return True

    def _pass_on(self, node: ir.Node, old: ir.Value, new: ir.Value) -> None:
        """Give the readers of `old` the value `new`; a graph output keeps its name by an Identity."""
        for use in list(old.uses()):
            use.node.replace_input_with(use.idx, new)
        scope = node.graph
        assert scope is not None
        if old.is_graph_output():
            carrier = ir.Node("", "Identity", [new], outputs=[_twin(old)])
            carrier.name = fresh_name(self.taken, f"{old.name}_Identity")
            scope.insert_after(node, carrier)
            outputs = scope.outputs
            for i, value in enumerate(outputs):
                if value is old:
                    outputs[i] = carrier.outputs[0]
        scope.remove(node, safe=True)

    def _clipped(self, node: ir.Node, source: ir.Value) -> ir.Value:
        """``source`` clipped to the range of the pair that ends with `node`."""
        scale, low, high = _grid(node)
        out = ir.Value(name=fresh_name(self.taken, f"{source.name}_clipped"), shape=source.shape, type=source.type)
        if opset(self.model) < _CLIP_BY_INPUTS:
            limits = [ir.AttrFloat32("min", low), ir.AttrFloat32("max", high)]
            clip = ir.Node("", "Clip", [source], limits, outputs=[out])
        else:
            names = [fresh_name(self.taken, f"{source.name}_{end}") for end in ("low", "high")]
            arrays = [np.array(v, scale.dtype) for v in (low, high)]
            ends = [add_initializer(self.model.graph, n, a) for n, a in zip(names, arrays, strict=True)]
            clip = ir.Node("", "Clip", [source, *ends], outputs=[out])
        clip.name = fresh_name(self.taken, f"{source.name}_Clip")
        assert node.graph is not None
        node.graph.insert_before(node, clip)
        return out


def _twin(value: ir.Value) -> ir.Value:
    twin = ir.Value(name=value.name, shape=value.shape, type=value.type)
    twin.metadata_props.update(value.metadata_props)
    value.name = f"{value.name}_quantized_before"
    return twin


def _quantizer(node: ir.Node) -> ir.Node | None:
    """The QuantizeLinear whose integers `node` dequantizes."""
    source = node.inputs[0]
    producer = source.producer() if source is not None else None
    return producer if producer is not None and producer.op_type == "QuantizeLinear" else None


def dequantized(node: ir.Node) -> np.ndarray | None:
    """The floats of a DequantizeLinear over constants: s (q - z), per tensor, channel or block; None otherwise."""
    parts = [array_of(node.inputs[i]) if i < len(node.inputs) else None for i in range(3)]
    numbers, scale, zero = parts
    if numbers is None or scale is None or (zero is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return None
    steps = numbers.astype(np.float64) - _spread(np.zeros_like(scale) if zero is None else zero, numbers, node)
    return (steps * _spread(scale, numbers, node)).astype(scale.dtype)


def _spread(part: np.ndarray, numbers: np.ndarray, node: ir.Node) -> np.ndarray:
    """Scales or zero points laid out so that they meet their numbers, float64."""
    wide = part.astype(np.float64)
    axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
    if wide.size == 1 and not block:
        return wide.reshape(())
    if block:
        axis %= numbers.ndim
        return np.repeat(wide, block, axis=axis).take(np.arange(numbers.shape[axis]), axis=axis)
    shape = [1] * numbers.ndim
    shape[axis] = -1
    return wide.reshape(shape)


def _equal_grids(first: ir.Node, second: ir.Node) -> bool:
    pairs = zip(first.inputs[1:], second.inputs[1:], strict=False)
    same = all(a is b or np.array_equal(_numbers(a), _numbers(b)) for a, b in pairs)
    return same and len(first.inputs) == len(second.inputs)


def _numbers(value: ir.Value | None) -> np.ndarray:
    found = array_of(value)
    return np.array(np.nan) if found is None else found.reshape(-1).astype(np.float64)


def _grid(node: ir.Node) -> tuple[np.ndarray, float, float]:
    """Scale, least and largest value of a pair on a tensor."""
    scale, zero = array_of(node.inputs[1]), array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    assert scale is not None
    zero = np.array(0, np.uint8) if zero is None else zero
    kind = np.iinfo(zero.dtype)
    first, step = float(zero.reshape(-1)[0]), float(scale.reshape(-1)[0])
    return scale, step * (kind.min - first), step * (kind.max - first)


def _clips(quantizer: ir.Node, source: ir.Value) -> bool:
    """True where a pair keeps nothing below zero of a tensor that may go there."""
    scale, zero = array_of(quantizer.inputs[1]), array_of(quantizer.inputs[2]) if len(quantizer.inputs) > 2 else None
    if scale is None or scale.size != 1 or (zero is not None and zero.dtype.kind not in "iu"):
        return False
    producer = source.producer()
    if producer is None or producer.op_type in _NOT_NEGATIVE:
        return False
    return _grid(quantizer)[1] == 0.0


def _left(model: ir.Model) -> Iterator[Finding]:
    for node in iter_nodes(model):
        if node.op_type == "DequantizeLinear" or (node.op_type == "QuantizeLinear" and node.outputs[0].uses()):
            readers = sorted({use.node.op_type for use in node.outputs[0].uses()} & set(_MOVES))
            why = f"{', '.join(readers)} works on its integers" if readers else "it has no partner of the same scale"
            yield Finding("QDQ-ALONE", f"{node.op_type} stays: {why}", node=label(node), severity=Severity.WARNING)
