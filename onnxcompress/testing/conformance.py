"""The conformance kit: what every pass owes its users, checked on many models at once.

A third party runs it in its own tests:

    from onnxcompress.testing import check_pass
    check_pass(MyPass(strength=0.5))
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onnxcompress import model_io
from onnxcompress.errors import CompressError, UsageError
from onnxcompress.passes.base import Pass
from onnxcompress.testing.backend import Trial, backend_trials
from onnxcompress.testing.obligations import Broken, Outcome, check_spec, check_trial, runs, samples_of
from onnxcompress.testing.random_models import random_feeds, random_model

# How many random models, and one backend model in how many.
_SIZES = {"quick": (24, 61), "full": (500, 1)}


@dataclass
class ConformanceReport:
    """What `check_pass` found; it raises where a pass fails, so a report tells of a pass that did not.

    Attributes:
        name: The pass's name.
        models: Models that the pass was run on.
        changed: Those that it changed.
        refused: How often each error code was raised: a refusal by name is no failure.
        findings: How often each finding's code came.
    """

    name: str
    models: int = 0
    changed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one model."""
        self.models += 1
        self.changed += outcome.changed
        self.refused.update([outcome.refused] if outcome.refused else [])
        self.findings.update(outcome.codes)

    def __str__(self) -> str:
        refused = f", refused {sum(self.refused.values())}" if self.refused else ""
        return f"{self.name}: {self.models} models, changed {self.changed}{refused}; findings {dict(self.findings)}"


def check_pass(
    pass_: Pass,
    *,
    models: str = "quick",
    seed: int = 0,
    target: str = "ort-cpu",
    idempotent: bool = False,
    repro: Path | None = None,
) -> ConformanceReport:
    """Run a pass on random models and on models of ONNX's backend suite, and hold it to what every pass owes.

    On each model: the result is valid and ONNX Runtime loads it; inputs and outputs are as before; an EXACT pass
    keeps the numbers, a LOSSY one gives finite numbers where they were finite, an ANALYSIS changes nothing; the
    original and its weights are not touched; a second run from the start gives the same bytes; saved and loaded it
    is the same; every finding has a code and a sentence; and the pass's recipe entry gives the same pass back.
    A CompressError that the pass raises counts as a refusal. Samples are the random inputs of each model; a
    pass that always needs samples is not run on models whose inputs have no common first axis.

    Args:
        pass_: The pass, with the options to check it with.
        models: ``quick``, about 50 models, or ``full``, about 2,000.
        seed: First seed of the random models.
        target: Name of the deployment target in the context.
        idempotent: Also demand that a second run on the result changes nothing.
        repro: A folder to write the failing model and its inputs to; nothing is written without it.

    Raises:
        CompressError: With code ``CONFORMANCE-...``, naming the first model that failed and what was wrong.
    """
    if models not in _SIZES:
        raise UsageError(f"models is {models!r}", hint=f"Use one of: {', '.join(_SIZES)}.", code="USAGE-BAD-VALUE")
    check_spec(pass_)
    report = ConformanceReport(pass_.name)
    for trial in _trials(*_SIZES[models], seed):
        if pass_.needs_data == "always" and samples_of(trial) is None:
            continue
        try:
            report.add(check_trial(pass_, trial, target=target, idempotent=idempotent))
        except Broken as broken:
            raise _failure(pass_, trial, broken, repro) from broken
    return report


def _trials(random: int, every: int, seed: int) -> Iterator[Trial]:
    made = (random_model(n) for n in range(seed, seed + random))
    drawn = (Trial(f"random_model({n})", m, random_feeds(m, n)) for n, m in enumerate(made, start=seed))
    return itertools.chain(drawn, (trial for trial in backend_trials(every=every) if runs(trial)))


def _failure(pass_: Pass, trial: Trial, broken: Broken, repro: Path | None) -> CompressError:
    hint = "Give repro=FOLDER to have the model and its inputs written there."
    if repro is not None:
        hint = f"The model and its inputs are in {_write(trial, repro)}."
    return CompressError(
        f"the pass {pass_.name} fails its conformance check",
        where=trial.name,
        why=broken.why,
        hint=hint,
        code=broken.code,
    )


def _write(trial: Trial, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model_io.save(trial.model, folder / "model.onnx", force=True)
    np.savez(folder / "feeds.npz", **trial.feeds)
    return folder
