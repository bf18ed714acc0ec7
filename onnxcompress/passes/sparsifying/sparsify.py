"""The pass itself: find the weights, decide how much each gives, zero them, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import in_scope, set_constant, tensor_of
from onnxcompress.passes.base import Context
from onnxcompress.passes.reconstruction.linear import Linear, linear_of
from onnxcompress.passes.reconstruction.repair import runs_of
from onnxcompress.passes.sparsifying.amounts import Amount, amounts
from onnxcompress.passes.sparsifying.effect import tensors, zipped
from onnxcompress.passes.sparsifying.magnitude import gone
from onnxcompress.passes.sparsifying.moments import Walk
from onnxcompress.passes.sparsifying.n_m import NM, pattern_of
from onnxcompress.passes.sparsifying.update import Updated, update
from onnxcompress.passes.sparsifying.weights import Weight, find
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.prune_weights import PruneWeights

Outcomes = dict[Weight, Updated]


def sparsify(model: ir.Model, ctx: Context, options: PruneWeights) -> Iterator[Finding]:
    """Zero weights of `model` in place.

    Raises:
        UsageError: Where a layer pattern matches nothing.
    """
    weights, left = find(model, in_scope(model, ctx.scope.only, ctx.scope.exclude))
    yield from left
    given = amounts(model, weights, options, ctx)
    yield from (_unfit(a) for a in given if a.wanted is None)
    chosen = [a for a in given if a.wanted is not None]
    if not chosen:
        yield Finding("PRUNE-NOTHING", "no weight was found that could be set to zero", severity=Severity.WARNING)
        return
    others = _others(model, weights)
    before = [tensor for w in weights if (tensor := tensor_of(w.value)) is not None]
    zeros_before = {w: _zeros(w) for w in weights}
    outcomes = _prune(model, chosen, ctx, options)
    yield from _fallbacks(outcomes)
    yield from (_layer(a, zeros_before[a.weight], outcomes[a.weight]) for a in chosen)
    yield _total(weights, zeros_before, zipped(others), before)
    yield _speed(pattern_of(options.weights), ctx)


def _prune(model: ir.Model, chosen: Sequence[Amount], ctx: Context, options: PruneWeights) -> Outcomes:
    """Layers that no data can help first: they lie before others, whose input then shows it."""
    linears, why = _linears(model, chosen) if ctx.data is not None else ({}, {})
    outcomes: Outcomes = {}
    for amount in chosen:
        if amount.weight not in linears:
            _by_magnitude(amount)
            outcomes[amount.weight] = Updated("magnitude", why.get(amount.weight, ""))
    if linears:
        outcomes |= _with_data(model, [a for a in chosen if a.weight in linears], linears, ctx, options)
    return outcomes


def _linears(model: ir.Model, chosen: Sequence[Amount]) -> tuple[dict[Weight, Linear], dict[Weight, str]]:
    """The layers that are least-squares problems, in order, and why the others are none."""
    places = {node: index for index, node in enumerate(model.graph)}
    linears: dict[Weight, Linear] = {}
    why: dict[Weight, str] = {}
    for weight in (a.weight for a in chosen):
        place = places.get(weight.node)
        found = "it lies in a body or a function" if place is None else linear_of(weight.node, place)
        if isinstance(found, Linear) and found.weight is weight.value:
            linears[weight] = found
        else:
            why[weight] = found if isinstance(found, str) and found else "the operator has no closed form here"
    return dict(sorted(linears.items(), key=lambda item: item[1].index)), why


def _with_data(
    model: ir.Model, chosen: Sequence[Amount], linears: Mapping[Weight, Linear], ctx: Context, options: PruneWeights
) -> Outcomes:
    by_weight = {a.weight: a for a in chosen}
    walk = Walk(model, list(linears.values()), runs_of(model, ctx, options.samples), options.rows, ctx)
    outcomes: Outcomes = {}
    for done, (weight, linear) in enumerate(linears.items()):
        ctx.progress("prune-weights", done, len(linears))
        amount = by_weight[weight]
        assert amount.wanted is not None
        outcomes[weight] = update(linear, amount.wanted, walk, ctx.memory_bytes) if amount.wanted else Updated("none")
        if outcomes[weight].form == "magnitude":
            _by_magnitude(amount)
    return outcomes


def _by_magnitude(amount: Amount) -> None:
    assert amount.wanted is not None
    numbers = amount.weight.numbers()
    mask = gone(amount.weight, amount.wanted)
    if mask.any():
        set_constant(amount.weight.value, np.where(mask, np.zeros((), numbers.dtype), numbers))


def _others(model: ir.Model, weights: Sequence[Weight]) -> list[ir.TensorProtocol]:
    """What the model stores besides its weights."""
    mine = {id(tensor_of(w.value)) for w in weights}
    return [tensor for tensor in tensors(model) if id(tensor) not in mine]


def _zeros(weight: Weight) -> int:
    numbers = weight.numbers()
    return numbers.size - int(np.count_nonzero(numbers))


def _unfit(amount: Amount) -> Finding:
    return Finding("PRUNE-WEIGHTS-UNFIT", f"left as it is: {amount.told}", amount.weight.labels[0])


def _fallbacks(outcomes: Outcomes) -> Iterator[Finding]:
    for weight, outcome in outcomes.items():
        if outcome.why:
            code = "PRUNE-WEIGHTS-DIAGONAL" if outcome.form == "diagonal" else "PRUNE-WEIGHTS-MAGNITUDE"
            how = "input power and magnitude" if outcome.form == "diagonal" else "magnitude"
            yield Finding(code, f"chosen by {how} alone, nothing moved: {outcome.why}", weight.labels[0])


def _layer(amount: Amount, before: int, outcome: Updated) -> Finding:
    weight, zeros = amount.weight, _zeros(amount.weight)
    size = weight.numbers().size
    text = f"{zeros / size:.1%} of {size:,} weights are zero"
    text += f" ({amount.told})" if amount.told else ""
    numbers: dict[str, float | int | str] = {
        "weights": size, "zeros_before": before, "zeros": zeros, "sparsity": zeros / size, "form": outcome.form,
    }  # fmt: skip
    if outcome.plain is not None and outcome.error is not None:
        numbers |= {"error": outcome.error, "error_by_magnitude": outcome.plain}
        text += f"; error of its output {outcome.error:.2g}, by magnitude alone {outcome.plain:.2g}"
    if zeros == size:
        text = f"all of its {size:,} weights are zero: it gives its bias, whatever comes in"
        return Finding("PRUNE-WEIGHTS-EMPTIED", text, weight.labels[0], Severity.WARNING, numbers)
    return Finding("PRUNE-SPARSITY", text, weight.labels[0], numbers=numbers)


def _total(
    weights: Sequence[Weight], zeros_before: Mapping[Weight, int], others: int, before: Sequence[ir.TensorProtocol]
) -> Finding:
    size, zeros = sum(w.numbers().size for w in weights), sum(map(_zeros, weights))
    after = [tensor for w in weights if (tensor := tensor_of(w.value)) is not None]
    was, now = (others + zipped(stored) for stored in (before, after))
    text = f"{zeros / size:.1%} of {size:,} weights are zero; zipped, all that the model stores takes {now:,} bytes"
    numbers = {
        "weights": size, "zeros_before": sum(zeros_before.values()), "zeros": zeros, "sparsity": zeros / size,
        "zipped_before": was, "zipped": now,
    }  # fmt: skip
    return Finding("PRUNE-SPARSITY-TOTAL", f"{text} instead of {was:,}", numbers=numbers)


def _speed(pattern: NM | None, ctx: Context) -> Finding:
    """That zeros save no time, or what it takes for them to."""
    target = ctx.target
    text = "zeros make the zipped file smaller, not a run faster: a dense runtime multiplies by them like by any number"
    if target.sparse_pattern:
        text += f"; {target.name} gains from {target.sparse_pattern} alone"
        if str(pattern) == target.sparse_pattern:
            text = f"only {target.name} gains time from {pattern}, and only {target.sparse_needs}"
    return Finding("PRUNE-NO-SPEEDUP", text, severity=Severity.WARNING)
