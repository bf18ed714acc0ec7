"""Whether neighbouring products can leave the 16 bits in which some kernels add them.

x86 without VNNI multiplies with VPMADDUBSW: two neighbouring products of an unsigned activation and a signed weight are
added in int16, and a sum beyond 32767 is cut off without a word. For activations a1, a2 in 0..255,

    max |a1 w1 + a2 w2| = 255 max(w1+ + w2+, w1- + w2-),   w+ = max(w, 0), w- = max(-w, 0),

taken over the pairs (0, 1), (2, 3), ... along a layer's inner axis, channels last as the kernel reads them. Depthwise
convolutions have a kernel of their own that widens first. With weights in 7 bits, 255 (63 + 63) = 32130 always fits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, label
from onnxcompress.passes.quantization.coverage import reads_integers
from onnxcompress.passes.quantization.linear import is_linear
from onnxcompress.report import Finding, Severity
from onnxcompress.targets import Target

_LARGEST_ACTIVATION = 255


def check(model: ir.Model, target: Target) -> Iterator[Finding]:
    """The largest sum of two neighbouring products, and each layer that could leave the target's accumulator."""
    if not target.pair_sum_limit:
        return
    sums = pair_sums(model)
    over = {name: most for name, most in sums.items() if most > target.pair_sum_limit}
    most = max(sums.values(), default=0)
    message = f"two neighbouring products come to {most} at most; the kernel's 16 bits hold {target.pair_sum_limit}"
    numbers = {"largest": most, "limit": target.pair_sum_limit, "layers": len(sums), "over": len(over)}
    yield Finding("QUANT-PAIR-SUM", message, numbers=numbers)
    for name, largest in over.items():
        why = f"two neighbouring products may come to {largest}, which saturates; give 7-bit weights"
        yield Finding("QUANT-SATURATES", why, node=name, severity=Severity.WARNING)


def pair_sums(model: ir.Model) -> dict[str, int]:
    """The largest magnitude that two neighbouring products can add up to, by layer."""
    found: dict[str, int] = {}
    for node in model.graph:
        if is_linear(node) and reads_integers(node):
            rows = _rows(node)
            if rows is not None:
                found[label(node)] = _LARGEST_ACTIVATION * _worst(rows)
    return found


def _rows(node: ir.Node) -> np.ndarray | None:
    """The integer weight, one output a row, in the order in which the kernel reads it; None where it has none."""
    source = node.inputs[1].producer() if node.inputs[1] is not None else None
    weight = array_of(source.inputs[0]) if source is not None else None
    if weight is None or weight.dtype != np.int8 or weight.ndim < 2:
        return None
    if node.op_type == "Conv":
        depthwise = attribute(node, "group", 1) > 1 and weight.shape[1] == 1
        return None if depthwise else np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return weight
    return np.swapaxes(weight, -1, -2).reshape(-1, weight.shape[-2]) if node.op_type in ("Gemm", "MatMul") else None


def _worst(rows: np.ndarray) -> int:
    """Most over pairs of the positive or the negative part's sum."""
    even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).astype(np.int16).reshape(len(rows), -1, 2)
    if not even.size:
        return 0
    return int(max(np.maximum(even, 0).sum(axis=-1).max(), np.maximum(-even, 0).sum(axis=-1).max()))
