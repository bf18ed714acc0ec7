"""Which scales of Q/DQ nodes, and of integer weights in other forms, are trained, and which follow others.

A scale s is trained as s = s0 exp(g) from g = 0 (`fake_quant.grown`): it stays positive, and where nothing was learned
it keeps its bits. Scales with equal numbers and zero points are one parameter, so that pairs around an operator that
only moves data stay equal. The scale of an int32 bias is s_x s_w, as integer kernels assume, and follows both.
Where every scale is a power of two, a target asked for that, and all stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.grids import scale_of
from onnxcompress.distill.origins import stored
from onnxcompress.distill.weights import Weight
from onnxcompress.distill.working_copy import home
from onnxcompress.report import Finding, Severity

_PAIRS = ("QuantizeLinear", "DequantizeLinear")
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
# Bias scales count as s_x s_w up to the rounding of that product.
_NEAR = 1e-5


@dataclass
class Scales:
    """The scales of a model.

    Attributes:
        weights: One entry for each scale that is trained, role ``scale``.
        shared: For each entry, the position in `weights` of the first with equal numbers.
        follow: Values of bias scales, each with the scales of its factors (those of them that are trained).
        findings: What was left alone.
    """

    weights: list[Weight] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)
    follow: dict[ir.Value, tuple[ir.Value, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def find_scales(model: ir.Model) -> Scales:
    """The scales of the Q/DQ nodes of a working copy in the order of use."""
    found: dict[ir.Value, ir.Node] = {}
    factors: dict[ir.Value, set[tuple[ir.Value, ...]]] = {}
    for node in graph.iter_nodes(model):
        value = scale_of(node)
        if value is None or not _trainable(value):
            continue
        if _is_bias(node):
            factors.setdefault(value, set()).update(_factors(node))
        else:
            found.setdefault(value, node)
    lost = [value for value in (*found, *factors) if home(value) is None]
    # With a scale that must stay, its twins stay: the other half of the pair is among them.
    fixed = {_key(value, found[value]) for value in _fixed(factors, lost) if value in found}
    chosen = {value: node for value, node in found.items() if value not in factors and _key(value, node) not in fixed}
    if chosen and all(_power_of_two(value) for value in chosen):
        message = "every scale is a power of two, as the target asks; scales stay"
        return Scales(findings=[Finding("DISTILL-SCALES-POWERS", message, numbers={"scales": len(chosen)})])
    made = _made(chosen, factors)
    message = "a call passes this scale to a local function as an attribute; it stays, and its equals with it"
    made.findings += [
        Finding("DISTILL-SCALES-FUNCTIONS", message, value.name or "", Severity.WARNING) for value in lost
    ]
    return made


def _made(chosen: dict[ir.Value, ir.Node], factors: dict[ir.Value, set[tuple[ir.Value, ...]]]) -> Scales:
    made, first = Scales(), dict[tuple[bytes, bytes], int]()
    for value, node in chosen.items():
        made.shared.append(first.setdefault(_key(value, node), len(made.weights)))
        owner = _owner(node)
        made.weights.append(Weight(value.name or "", value, "scale", owner.name or "", nodes=(owner,)))
    for value, pairs in factors.items():
        trained = tuple(v for pair in pairs for v in pair if v in chosen)
        if trained:
            made.follow[value] = trained
    return made


def _trainable(value: ir.Value | None) -> bool:
    """A constant that is read as a scale alone."""
    tensor = stored(value)
    if value is None or tensor is None or tensor.dtype not in _FLOATS or value.is_graph_output():
        return False
    return all(scale_of(use.node) is value for use in value.uses())


def _is_bias(node: ir.Node) -> bool:
    tensor = stored(node.inputs[0]) if node.op_type in _PAIRS else None
    return tensor is not None and tensor.dtype == ir.DataType.INT32


def _factors(bias: ir.Node) -> Iterator[tuple[ir.Value, ...]]:
    """(s_x, s_w) of each layer that adds this bias; nothing where its scale is another product."""
    for use in bias.outputs[0].uses():
        scales = [_scale_behind(value) for value in use.node.inputs[:2]] if use.idx == 2 else []
        pair = tuple(s for s in scales if s is not None)
        yield pair if len(pair) == 2 and _is_product(bias.inputs[1], *pair) else ()


def _scale_behind(value: ir.Value | None) -> ir.Value | None:
    node = None if value is None else value.producer()
    return node.inputs[1] if node is not None and node.op_type == "DequantizeLinear" else None


def _is_product(bias: ir.Value | None, first: ir.Value, second: ir.Value) -> bool:
    tensors = [stored(v) for v in (bias, first, second)]
    if any(t is None for t in tensors):
        return False
    wanted, a, b = (t.numpy().astype(np.float64).reshape(-1) for t in tensors if t is not None)
    return (a.size == 1 or b.size in (1, a.size)) and bool(np.allclose(a * b, wanted, rtol=_NEAR, atol=0))


def _fixed(factors: dict[ir.Value, set[tuple[ir.Value, ...]]], lost: list[ir.Value]) -> set[ir.Value]:
    """Scales without a place of their own, and the factors of bias scales that could not follow all they belong to."""
    stuck = [pairs for value, pairs in factors.items() if len(pairs) > 1 or value in lost]
    return {*lost, *(value for pairs in stuck for pair in pairs for value in pair)}


def _power_of_two(value: ir.Value) -> bool:
    tensor = stored(value)
    assert tensor is not None
    return bool((np.frexp(tensor.numpy().astype(np.float64))[0] == 0.5).all())


def _key(value: ir.Value, node: ir.Node) -> tuple[bytes, bytes]:
    tensor = stored(value)
    zero = stored(node.inputs[2]) if len(node.inputs) > 2 and node.op_type in _PAIRS else None
    assert tensor is not None
    return tensor.numpy().tobytes(), b"" if zero is None else zero.numpy().tobytes()


def _owner(node: ir.Node) -> ir.Node:
    """The layer that reads a dequantized tensor; a scope selects layers, not Q/DQ nodes."""
    readers = [use.node for use in node.outputs[0].uses() if use.node.op_type not in _PAIRS]
    return readers[0] if readers and node.op_type in ("DequantizeLinear", "Mul") else node
