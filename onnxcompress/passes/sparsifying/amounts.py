"""How much each layer gives: a number of weights, or a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress.errors import UsageError
from onnxcompress.graph import select_nodes
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.rates import check_rate, layer_rate
from onnxcompress.passes.sparsifying.eligible import unfit
from onnxcompress.passes.sparsifying.global_ import shares
from onnxcompress.passes.sparsifying.histogram import count_below
from onnxcompress.passes.sparsifying.n_m import NM, pattern_of
from onnxcompress.passes.sparsifying.threshold import below, fraction
from onnxcompress.passes.sparsifying.weights import Weight

if TYPE_CHECKING:
    from onnxcompress.passes.prune_weights import PruneWeights

DEFAULT = 0.5
METHODS = ("threshold", "global", "histogram")


@dataclass(frozen=True)
class Amount:
    """What one layer gives.

    Attributes:
        weight: The weight.
        wanted: How many of its elements become zero, or the pattern; None where it is left as it is.
        told: Where the number comes from, or why there is none.
    """

    weight: Weight
    wanted: int | NM | None
    told: str = ""


def check_options(options: PruneWeights) -> None:
    """Refuse what is out of range or contradicts itself.

    Raises:
        UsageError: Naming the option.
    """
    pattern = pattern_of(options.weights)
    if pattern is None and options.weights not in METHODS:
        hint = "Use threshold, global, histogram, or a pattern such as 2:4."
        raise UsageError(f"--weights {options.weights} is no method", hint=hint, code="USAGE-PRUNE-METHOD")
    if options.sparsity is not None:
        check_rate("sparsity", options.sparsity)
    _check_combination(options, pattern)
    for rate in (layer_rate(entry)[1] for entry in options.layer):
        if pattern is not None and rate:
            why = f"with {pattern} a layer takes the pattern or is left as it is"
            hint = "Write --layer NAME=0 to leave a layer as it is."
            what = f"--layer ...={rate:g} does not go with --weights {pattern}"
            raise UsageError(what, why=why, hint=hint, code="USAGE-PRUNE-LAYER")


def _check_combination(options: PruneWeights, pattern: NM | None) -> None:
    if options.threshold is not None:
        if options.weights != "threshold" or not 0 < options.threshold < float("inf"):
            _refuse_threshold("it is a magnitude above 0, and only --weights threshold takes one")
        if options.sparsity is not None:
            _refuse_threshold("--sparsity sets the threshold of each layer, so that one of the two is too many")
    if pattern is not None and options.sparsity not in (None, pattern.sparsity):
        why = f"{pattern} makes {pattern.sparsity:g} of the weights zero, whatever else is asked for"
        hint = "Leave out --sparsity, or choose another pattern."
        raise UsageError("--sparsity contradicts the pattern", why=why, hint=hint, code="USAGE-PRUNE-PATTERN")
    if options.cut != "valley" and options.weights != "histogram":
        hint = "Give --weights histogram with it, or leave it out."
        raise UsageError("--cut belongs to the method histogram", hint=hint, code="USAGE-PRUNE-CUT")


def _refuse_threshold(why: str) -> None:
    hint = "Give --threshold 0.01 with --weights threshold, or --sparsity alone."
    raise UsageError("cannot use --threshold here", why=why, hint=hint, code="USAGE-PRUNE-THRESHOLD")


def amounts(model: ir.Model, weights: Sequence[Weight], options: PruneWeights, ctx: Context) -> list[Amount]:
    """What each of `weights` gives, in their order.

    Raises:
        UsageError: Where a layer pattern matches nothing.
    """
    table = [(select_nodes(model, [pattern]), rate) for pattern, rate in map(layer_rate, options.layer)]
    rates = [_rate(weight, table) for weight in weights]
    pattern = pattern_of(options.weights)
    if pattern is not None:
        return [_patterned(w, pattern, rate, ctx) for w, rate in zip(weights, rates, strict=True)]
    free = [w for w, rate in zip(weights, rates, strict=True) if rate is None]
    pooled = iter(_pooled(free, options))
    return [next(pooled) if rate is None else _fraction(w, rate) for w, rate in zip(weights, rates, strict=True)]


def _rate(weight: Weight, table: Sequence[tuple[set[str], float]]) -> float | None:
    return next((rate for names, rate in reversed(table) if names & set(weight.labels)), None)


def _patterned(weight: Weight, pattern: NM, rate: float | None, ctx: Context) -> Amount:
    why = "left out by --layer" if rate is not None else unfit(weight, pattern, ctx.target)
    return Amount(weight, None if why else pattern, why)


def _fraction(weight: Weight, rate: float) -> Amount:
    return Amount(weight, fraction(weight.numbers().size, rate))


def _pooled(weights: Sequence[Weight], options: PruneWeights) -> list[Amount]:
    """Amounts of the layers without a rate of their own."""
    sparsity = DEFAULT if options.sparsity is None else options.sparsity
    if options.threshold is not None:
        return [Amount(w, below(w.magnitudes(), options.threshold)) for w in weights]
    if options.weights == "global":
        total = sum(w.numbers().size for w in weights)
        given = shares([w.magnitudes for w in weights], fraction(total, sparsity))
        return [Amount(w, count) for w, count in zip(weights, given, strict=True)]
    if options.weights == "histogram":
        return [_by_histogram(w, sparsity, options.cut) for w in weights]
    return [_fraction(w, sparsity) for w in weights]


def _by_histogram(weight: Weight, sparsity: float, cut: str) -> Amount:
    count, valley = count_below(weight.numbers(), sparsity, cut)
    told = "cut at the valley" if valley else "no valley, cut at the percentile"
    return Amount(weight, count, told if cut == "valley" else "")
