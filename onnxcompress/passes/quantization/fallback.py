"""Back to float, layer by layer, until the quality gate is met.

The gate looks at a whole model, once. Here it is asked while something can still be done: the model is written as
usual and measured; where it loses too much, the tensors are put into the order of

    (squared error of the outputs with the tensor alone in integers) / (share of the model's static time that it saves)

and the first k of them stay float, with k = 1, 2, 4, ... until the gate holds; then k is halved back to the fewest.
That takes about 2 log2(tensors) models, each of them written and mended as if it were the only one. Weights of the
layers given back are stored as int8 like those of any float layer; only where no k does, the same is tried with their
weights in float as well. 16-bit activations
are no step of their own: ONNX Runtime computes them in float, between Q and DQ, and where a device does take them its
rules are for whole models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import clone, label
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.sensitivity.prices import Pricing
from onnxcompress.passes.quantization.sensitivity.probe import Probe
from onnxcompress.passes.quantization.sensitivity.stage import few_of, ranked
from onnxcompress.report import Finding, Severity
from onnxcompress.verify import Goal, Reached

Write = Callable[[Draft], Iterator[Finding]]
"""Edits the draft's model into its integer form."""

_MOST_PRICED = 400  # tensors; each costs a placement, above this many the order is that of the error alone
_LEAST_TIME = 1e-3  # share of the time below which a tensor counts as free


@dataclass(frozen=True)
class Layer:
    """A tensor that may go back to float, with those that share its scale.

    Attributes:
        root: The tensor that leads.
        names: All of them.
        error: Squared relative error of the outputs with them alone in integers.
        time: What leaving them float costs, a share of the model's static time.
    """

    root: str
    names: tuple[str, ...]
    error: float
    time: float


@dataclass(frozen=True)
class Trial:
    """A written model.

    Attributes:
        count: Layers given back.
        weights: Whether their weights are float too.
        draft: The draft, written.
        findings: What writing it said.
        reached: How it stands to the gate.
    """

    count: int
    weights: bool
    draft: Draft
    findings: list[Finding]
    reached: Reached


def fall_back(draft: Draft, write: Write) -> Iterator[Finding]:
    """Write `draft`; where the gate of its context is missed, write it with as few layers in float as meet it.

    Where none of the attempts does, the one that comes nearest stays, and the gate itself refuses it.

    Args:
        draft: Calibrated and refined; ``draft.model`` and ``draft.plan`` are replaced.
        write: Writes a draft.
    """
    goal = draft.ctx.goal
    if goal is None or not draft.plan.linear:
        yield from write(draft)
        return
    start = clone(draft.model)
    said = list(write(draft))
    first = Trial(0, False, draft, said, goal.measure(draft.model))
    if first.reached.holds:
        yield from said
        return
    search = Search(draft, start, write, goal)
    best = search.run(first)
    draft.model.graph, draft.plan, draft.request = best.draft.model.graph, best.draft.plan, best.draft.request
    yield from best.findings
    yield from _told(search, first, best, goal)


def fewest(total: int, most: int, holds: Callable[[int], bool]) -> int | None:
    """The fewest layers to give back: doubled until the gate holds, then halved back.

    Args:
        total: Layers there are.
        most: Most calls of `holds`.
        holds: Whether the gate holds with so many layers given back; with none it does not.

    Returns:
        The least count found to hold; None where none did.
    """
    failed, held, count = 0, None, 1
    for _ in range(most):
        if held is None and failed < total:
            count = min(max(1, 2 * failed), total)
        elif held is not None and held - failed > 1:
            count = (held + failed) // 2
        else:
            break
        held, failed = (count, failed) if holds(count) else (held, count)
    return held


class Search:
    """The attempts.

    Args:
        draft: As it was written at first.
        start: The float model that `draft` began with.
        write: Writes a draft.
        goal: What is to be met.
    """

    def __init__(self, draft: Draft, start: ir.Model, write: Write, goal: Goal) -> None:
        self._draft, self._start, self._write, self._goal = draft, start, write, goal
        self._fresh = draft.again(clone(start), ())
        self.layers = _ordered(self._fresh)
        self.tried: list[int] = []
        self._most = max(1, draft.options.evaluations // 4)

    def run(self, first: Trial) -> Trial:
        """The attempt with the fewest layers given back that meets the gate; else the one that comes nearest."""
        best = first
        for weights in (False, True):
            best = self._round(best, weights=weights)
            if best.reached.holds:
                break
        self._draft.ctx.progress("fallback", self._most, self._most)
        return best

    def _round(self, best: Trial, *, weights: bool) -> Trial:
        def holds(count: int) -> bool:
            nonlocal best
            trial = self._trial(count, weights=weights)
            if trial.reached.excess < best.reached.excess or (trial.reached.holds and count < best.count):
                best = trial
            return trial.reached.holds

        fewest(len(self.layers), self._most - len(self.tried), holds)
        return best

    def time(self, count: int) -> float:
        """Static time that the first `count` layers cost in float, a share of the whole."""
        return _time_without(self._fresh, self._names(count))

    def _trial(self, count: int, *, weights: bool) -> Trial:
        self._draft.ctx.progress("fallback", len(self.tried), self._most)
        self.tried.append(count)
        draft = self._draft.again(clone(self._start), self._names(count))
        draft = _without_weights(draft, self._fresh) if weights else draft
        findings = list(self._write(draft))
        return Trial(count, weights, draft, findings, self._goal.measure(draft.model))

    def _names(self, count: int) -> tuple[str, ...]:
        return tuple(name for layer in self.layers[:count] for name in layer.names)


def _without_weights(draft: Draft, whole: Draft) -> Draft:
    """The draft that also leaves alone the weights of the nodes that it took out of `whole`'s integers."""
    left = {label(linear.node) for linear in draft.plan.linear}
    taken = [name for linear in whole.plan.linear if (name := label(linear.node)) not in left]
    scope = draft.ctx.scope
    return replace(draft, ctx=replace(draft.ctx, scope=replace(scope, exclude=(*scope.exclude, *taken))))


def _ordered(draft: Draft) -> list[Layer]:
    """The layers of an unwritten draft, those first that bring most for their time."""
    errors, groups = _errors(draft), draft.plan.members()
    priced = len(groups) <= _MOST_PRICED
    found = [
        Layer(root, tuple(names), errors.get(root, 0.0), _time_without(draft, names) if priced else 0.0)
        for root, names in groups.items()
    ]
    return sorted(found, key=lambda layer: (-layer.error / max(layer.time, _LEAST_TIME), layer.root))


def _errors(draft: Draft) -> dict[str, float]:
    options = draft.options
    samples = few_of(draft.calibration)
    probe = Probe(draft.model, draft.plan, draft.grids, draft.ctx, samples, per_channel=options.per_channel)
    return {} if probe.blind else ranked(draft, probe, max(1, options.evaluations // 2))


def _time_without(draft: Draft, names: Sequence[str]) -> float:
    pricing = Pricing(draft.request)
    whole = pricing.time(draft.plan)
    after = place(replace(draft.request, islands=(*draft.request.islands, *names)))
    return (pricing.time(after) - whole) / whole if whole else 0.0


def _told(search: Search, first: Trial, best: Trial, goal: Goal) -> Iterator[Finding]:
    for layer in search.layers[: best.count]:
        alone = float(np.sqrt(layer.error))
        cost = f"costs {100 * layer.time:.1f}" if layer.time >= 0 else f"saves {-100 * layer.time:.1f}"
        message = (
            f"given back to float for the quality gate: alone in integers it changes the outputs by "
            f"{100 * alone:.1f} %; float it {cost} % of the integer model's estimated time"
        )
        numbers: dict[str, float | int | str] = {"sensitivity": round(alone, 6), "time": round(layer.time, 4)}
        yield Finding("QUANT-GIVEN-BACK", message, node=layer.root, numbers=numbers)
    yield _outcome(search, first, best, goal)


def _outcome(search: Search, first: Trial, best: Trial, goal: Goal) -> Finding:
    held, total, time = best.reached.holds, len(search.layers), search.time(best.count)
    verdict = "meets the quality gate" if held else "the quality gate is not met: the nearest is"
    attempts, weights = ", ".join(map(str, search.tried)), ", weights too" if best.weights else ""
    message = (
        f"{verdict} with {best.count} of {total} quantized tensors given back to float{weights} ({best.reached.text}; "
        f"without: {first.reached.text}), {100 * time:+.1f} % of the estimated time; tried {attempts}; steered by "
        f"{goal.source}"
    )
    numbers: dict[str, float | int | str] = {
        "given_back": best.count,
        "of": total,
        "attempts": len(search.tried),
        "samples": len(goal.samples),
        "time": round(time, 4),
        "held": int(held),
    }
    severity = Severity.INFO if held else Severity.WARNING
    return Finding("QUANT-FALLBACK", message, severity=severity, numbers=numbers)
