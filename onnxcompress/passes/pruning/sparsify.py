"""Single weights to zero, one tensor at a time: a threshold for each layer, for all, or by histogram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import UsageError
from onnxcompress.graph import in_scope, iter_nodes, label, select_nodes, set_constant
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.magnitudes import cumulative, empty, magnitudes, valley
from onnxcompress.passes.pruning.rates import check_rate, layer_rate
from onnxcompress.passes.pruning.trace import constant_tensor
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.prune_weights import PruneWeights

_WEIGHTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "Einsum": (0, 1),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
}


def check_options(options: PruneWeights) -> None:
    """Refuse what is out of range or contradicts itself.

    Raises:
        UsageError: Naming the option.
    """
    check_rate("sparsity", options.sparsity)
    for entry in options.layer:
        layer_rate(entry)
    if options.threshold < 0 or (options.threshold and options.method != "threshold"):
        hint = "Give --threshold 0.01 with --method threshold, or --sparsity alone."
        why = "it is a magnitude, and only the method threshold takes one"
        raise UsageError("cannot use --threshold here", why=why, hint=hint, code="USAGE-PRUNE-THRESHOLD")


def sparsify(model: ir.Model, ctx: Context, options: PruneWeights) -> Iterator[Finding]:
    """Zero the smallest weights of `model` in place."""
    rates = [(select_nodes(model, [pattern]), rate) for pattern, rate in map(layer_rate, options.layer)]
    weights = list(_weights(model, in_scope(model, ctx.scope.only, ctx.scope.exclude)))
    if not weights:
        yield Finding("PRUNE-NOTHING", "no weight of a linear layer was found", severity=Severity.WARNING)
    shared = _shared_threshold(weights, options)
    zeros, total = 0, 0
    for node, value in weights:
        numbers = _numbers(value)
        rate = next((rate for names, rate in reversed(rates) if label(node) in names), None)
        limit = _threshold(numbers, options, rate) if shared is None or rate is not None else shared
        small = np.abs(numbers.astype(np.float32)) < np.float32(limit)
        set_constant(value, np.where(small, np.zeros((), numbers.dtype), numbers))
        zero = int((small | (numbers == 0)).sum())
        zeros, total = zeros + zero, total + numbers.size
        share = zero / numbers.size
        text = f"{share:.1%} of {numbers.size} weights are zero (threshold {limit:.3g})"
        yield Finding("PRUNE-SPARSITY", text, label(node), numbers={"sparsity": share, "threshold": limit})
    if total:
        text = f"{zeros / total:.1%} of {total} weights are zero"
        yield Finding("PRUNE-SPARSITY-TOTAL", text, numbers={"sparsity": zeros / total})


def _shared_threshold(weights: list[tuple[ir.Node, ir.Value]], options: PruneWeights) -> float | None:
    if options.threshold:
        return options.threshold
    if options.method != "global":
        return None
    histogram = empty()
    for _, value in weights:
        histogram += magnitudes(_numbers(value))
    return cumulative(histogram, options.sparsity)


def _threshold(numbers: np.ndarray, options: PruneWeights, rate: float | None) -> float:
    sparsity = options.sparsity if rate is None else rate
    pick = valley if options.method == "histogram" and rate is None else cumulative
    return pick(magnitudes(numbers), sparsity)


def _numbers(value: ir.Value) -> np.ndarray:
    tensor = constant_tensor(value)
    assert tensor is not None
    return tensor.numpy()


def _weights(model: ir.Model, scope: set[str]) -> Iterator[tuple[ir.Node, ir.Value]]:
    """Float matrices and kernels of linear ops, each once, with their first reader."""
    seen: set[ir.Value] = set()
    for node in iter_nodes(model):
        for index in _WEIGHTS.get(node.op_type, ()):
            value = node.inputs[index] if index < len(node.inputs) else None
            tensor = constant_tensor(value)
            if value is None or tensor is None or value in seen or label(node) not in scope:
                continue
            seen.add(value)
            if tensor.dtype.is_floating_point() and len(tensor.shape) > 1 and tensor.size:
                yield node, value
