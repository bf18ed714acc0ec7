"""Latency of models side by side: paired, interleaved, spinning off, medians, beside an A/A run.

Every round runs each model once, in an order that rotates, so that drift of the machine falls on all alike. The first
model runs in two sessions: what those two differ by is the noise of the machine, the A/A spread. A ratio counts as a
difference only beyond the larger of 5 % and that spread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import UsageError
from onnxcompress.runtime.batching import batch_axis
from onnxcompress.runtime.runnable import runnable_part
from onnxcompress.runtime.session import Session
from onnxcompress.runtime_options import RuntimeOptions

NOISE = 0.05
"""Smallest relative difference that is ever called one."""

MAX_BATCH = 4096


@dataclass(frozen=True)
class LatencyResult:
    """Measured times.

    Attributes:
        ms: Median milliseconds of one run, by model.
        ratio: Median over the rounds of the first model's time over this model's, by model: above 1 is faster.
        spread: Relative difference between two sessions of the first model.
        batch: Samples in one run.
        rounds: Number of rounds.
    """

    ms: Mapping[str, float]
    ratio: Mapping[str, float]
    spread: float
    batch: int
    rounds: int
    times: Mapping[str, tuple[float, ...]] = field(default_factory=dict, repr=False)

    @property
    def tolerance(self) -> float:
        """Relative difference that counts as none."""
        return max(NOISE, self.spread)

    def beyond_noise(self, name: str) -> bool:
        """True where `name` is faster or slower than the first model by more than the noise."""
        return abs(self.ratio[name] - 1) > self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the report keeps them."""
        figures = {name: {"ms": self.ms[name], "ratio": self.ratio[name]} for name in self.ms}
        noise = {name: self.beyond_noise(name) for name in self.ms}
        models = {name: {**one, "beyond_noise": noise[name]} for name, one in figures.items()}
        return {"models": models, "aa_spread": self.spread, "batch": self.batch, "rounds": self.rounds}


def latency(
    models: Mapping[str, ir.Model],
    feeds: Mapping[str, np.ndarray],
    *,
    options: RuntimeOptions | None = None,
    rounds: int = 21,
    warmup: int = 3,
) -> LatencyResult:
    """Time models on the same inputs.

    Args:
        models: By label; the first is the one that others are compared with.
        feeds: Inputs of one run, by name.
        options: Providers and threads.
        rounds: Timed rounds, at least 3.
        warmup: Rounds before those.

    Raises:
        UsageError: Where there is no model, or too few rounds.
    """
    if not models or rounds < 3:
        hint = "Give at least one model and three rounds."
        raise UsageError("cannot measure latency", why=f"{len(models)} models, {rounds} rounds", hint=hint)
    sessions = {name: Session(runnable_part(model, options)[0], options) for name, model in models.items()}
    first = next(iter(models))
    twin = f"{first} (again)"
    sessions[twin] = Session(runnable_part(models[first], options)[0], options)
    times = _rounds(sessions, feeds, rounds, warmup)
    spread = _spread(times[first], times.pop(twin))
    ratio = {name: _ratio(times[first], taken) for name, taken in times.items()}
    ms = {name: 1e3 * statistics.median(taken) for name, taken in times.items()}
    kept = {name: tuple(taken) for name, taken in times.items()}
    return LatencyResult(ms, ratio, spread, _batch_of(models[first], feeds), rounds, kept)


def batch_for(
    model: ir.Model,
    feeds: Mapping[str, np.ndarray],
    *,
    min_ms: float = 10.0,
    options: RuntimeOptions | None = None,
) -> dict[str, np.ndarray]:
    """`feeds` repeated along the batch until one run of `model` takes `min_ms`; as they are where the batch is fixed.

    Args:
        model: The float model.
        feeds: Inputs of one run, by name.
        min_ms: Milliseconds to reach, so that a speed-up can be claimed.
        options: Providers and threads.
    """
    axes = batch_axis(model)
    current = dict(feeds)
    session = Session(runnable_part(model, options)[0], options)
    while axes:
        taken = statistics.median(_timed(session, current) for _ in range(5)) * 1e3
        size = _batch_of(model, current)
        if taken >= min_ms or size >= MAX_BATCH:
            break
        factor = int(min(max(2, np.ceil(min_ms / max(taken, 1e-3))), 16, max(2, MAX_BATCH // size)))
        current = {n: np.repeat(a, factor, axis=axes[n]) if n in axes else a for n, a in current.items()}
    return current


def _batch_of(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> int:
    axes = batch_axis(model)
    return next((feeds[name].shape[axis] for name, axis in axes.items() if name in feeds), 1)


def _rounds(
    sessions: Mapping[str, Session], feeds: Mapping[str, np.ndarray], rounds: int, warmup: int
) -> dict[str, list[float]]:
    names = list(sessions)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warmup + rounds):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            taken = _timed(sessions[name], feeds)
            if number >= warmup:
                times[name].append(taken)
    return times


def _timed(session: Session, feeds: Mapping[str, np.ndarray]) -> float:
    start = time.perf_counter()
    session.run(feeds)
    return time.perf_counter() - start


def _ratio(first: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(first, other, strict=True))


def _spread(first: list[float], again: list[float]) -> float:
    """Relative difference of two equal sessions.

    The larger of the median's distance from 1 and the standard error of that median, which for normal noise is
    ``1.253 sigma / sqrt(n)`` with sigma from the quartiles, ``(q3 - q1) / (2 * 0.6745)``.
    """
    ratios = [a / b for a, b in zip(first, again, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    error = 1.253 * (high - low) / (2 * 0.6745) / len(ratios) ** 0.5
    return max(abs(middle - 1), error)
