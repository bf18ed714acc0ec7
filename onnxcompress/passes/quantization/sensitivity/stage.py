"""The stage between calibration and editing: which tensors cost most, other ranges for them, and islands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnxcompress.data import DataSource
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.ranges import Rule
from onnxcompress.passes.quantization.scales import Grid
from onnxcompress.passes.quantization.sensitivity.choice import choose
from onnxcompress.passes.quantization.sensitivity.islands import NEAR, Island, Search
from onnxcompress.passes.quantization.sensitivity.probe import Probe
from onnxcompress.passes.quantization.sensitivity.profit import profit
from onnxcompress.passes.quantization.sensitivity.ranking import rank
from onnxcompress.passes.quantization.sensitivity.snr import signal_to_noise
from onnxcompress.report import Finding, Severity

_SAMPLES = 24
_NOT_FASTER = 0.95  # integer time over float time
_OTHERS = ("uniform", "kl", "histogram")


def refine(draft: Draft, rule: Rule, count: int | None) -> Iterator[Finding]:
    """Choose other ranges and islands for `draft`, and say what each of them is worth.

    Args:
        draft: Calibrated; grids and placement are replaced.
        rule: The usual range rule.
        count: How many islands; None for what is worth it.
    """
    evaluations = draft.options.evaluations
    if count == 0 or evaluations < 4:
        return
    probe = Probe(
        draft.model,
        draft.plan,
        draft.grids,
        draft.ctx,
        few_of(draft.calibration),
        per_channel=draft.options.per_channel,
    )
    if probe.blind:
        return
    before = probe.error(probe.tensors, probe.weights)
    if before <= NEAR and count is None:
        return
    errors = ranked(draft, probe, evaluations // 2)
    grids, changes = _ranges(draft, probe, rule, errors, evaluations // 4)
    yield from changes
    yield from _islands(draft, probe, errors, grids, count, evaluations // 4)


def thrift(draft: Draft) -> Iterator[Finding]:
    """Leave float what integers would only slow down; before anything is calibrated."""
    found = profit(draft.request, draft.plan)
    if found.tensors:
        draft.leave(found.tensors)
    for root, saved in found.saved.items():
        message = f"stays float: with it in integers the model's estimated time is {100 * saved:.1f} % longer"
        yield Finding("QUANT-NO-GAIN", message, node=root, numbers={"time": round(-saved, 4)})
    if found.integer > _NOT_FASTER * found.floating:
        message = (
            f"{draft.ctx.target.name} is expected to run the multiplying nodes in integers at "
            f"{found.floating / max(found.integer, 1e-9):.2f} times the speed of float: measure with --latency"
        )
        yield Finding("QUANT-NOT-FASTER", message, severity=Severity.WARNING)


def few_of(samples: DataSource) -> DataSource:
    """The samples that tensors are tried on, evenly spaced."""
    count = len(samples)
    return samples.subset(np.linspace(0, count - 1, min(count, _SAMPLES)).round().astype(np.int64))


def ranked(draft: Draft, probe: Probe, evaluations: int) -> dict[str, float]:
    """Squared relative error of the outputs by leading tensor (see `ranking`)."""
    noise = {t: 10 ** (-signal_to_noise(draft.found[t], draft.grids[t]) / 10) for t in probe.tensors}
    total = min(evaluations, len(probe.tensors))
    done = 0

    def error(names: Sequence[str]) -> float:
        nonlocal done
        done += 1
        draft.ctx.progress("sensitivity", min(done, total), total)
        return probe.error(names)

    return rank(probe.tensors, error, noise, evaluations)


def _ranges(
    draft: Draft, probe: Probe, rule: Rule, errors: dict[str, float], evaluations: int
) -> tuple[dict[str, Grid], list[Finding]]:
    """Other grids for some tensors; `errors` is brought up to date."""
    offers = {name: draft.gridded(Rule(name, {}, rule.target)) for name in _OTHERS if name != rule.name}
    chosen = choose(errors, offers, lambda name, grid: probe.error([name], (), {name: grid}), evaluations)
    findings = [_range_finding(name, other, errors[name], left) for name, (other, left) in chosen.items()]
    errors.update({name: left for name, (_, left) in chosen.items()})
    return {name: offers[other][name] for name, (other, _) in chosen.items()}, findings


def _islands(
    draft: Draft,
    probe: Probe,
    errors: Mapping[str, float],
    grids: Mapping[str, Grid],
    count: int | None,
    evaluations: int,
) -> Iterator[Finding]:
    draft.grids |= grids
    rest = probe.error((), probe.weights)
    search = Search(draft.request, draft.plan, errors, rest, lambda names: probe.error(names, probe.weights, grids))
    before = probe.error(probe.tensors, probe.weights, grids)
    found = search.run(count, evaluations, before)
    if found:
        draft.leave(search.names([island.root for island in found]))
    for island in found:
        yield _island_finding(island, before)
        before = island.left


def _range_finding(name: str, rule: str, before: float, after: float) -> Finding:
    instead = "" if _share(after) == _share(before) else f", not {_share(before)}"
    change = f"alone in integers it changes the outputs by {_share(after)}{instead}"
    numbers: dict[str, float | int | str] = {"before": _root(before), "after": _root(after), "rule": rule}
    return Finding("QUANT-RANGE-RULE", f"its range is chosen by {rule}: {change}", node=name, numbers=numbers)


def _island_finding(island: Island, before: float) -> Finding:
    cost = f"costs {100 * island.time:.1f} %" if island.time >= 0 else f"saves {-100 * island.time:.1f} %"
    message = (
        f"stays float: alone in integers it changes the outputs by {_share(island.alone)}; with it float all of them "
        f"together change by {_share(island.left)} instead of {_share(before)}, which {cost} of the integer model's "
        "estimated time"
    )
    numbers: dict[str, float | int | str] = {
        "sensitivity": _root(island.alone),
        "before": _root(before),
        "after": _root(island.left),
        "time": round(island.time, 4),
    }
    return Finding("QUANT-ISLAND-TENSOR", message, node=island.root, numbers=numbers)


def _share(squared: float) -> str:
    return f"{100 * np.sqrt(squared):.1f} %"


def _root(squared: float) -> float:
    return round(float(np.sqrt(squared)), 6)
