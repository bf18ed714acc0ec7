"""Quality gates: how much may be lost before nothing is written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource, count_of
from onnxcompress.errors import GateError, UsageError
from onnxcompress.verify.comparison import Comparison
from onnxcompress.verify.quality import Metric, class_output

_HINT = "Ask for less compression (a smaller ratio, --exclude), give more data, or allow a larger loss."


@dataclass(frozen=True)
class Drop:
    """An allowed loss.

    Attributes:
        amount: In units of the metric where absolute (0.5pt = 0.005), else as a fraction of the reference's score.
        relative: True for ``%``.
        text: As the user wrote it.
    """

    amount: float
    relative: bool
    text: str

    @classmethod
    def parse(cls, text: str) -> Drop:
        """Read ``0.5pt`` or ``1%``.

        Raises:
            UsageError: For anything else.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(pts?|%)\s*", text)
        if found is None:
            why = f"{text!r} is neither points nor a percentage"
            hint = "Write 0.5pt (half a point of the metric) or 1% (of the float model's score)."
            raise UsageError("cannot read --max-drop", why=why, hint=hint, code="USAGE-MAX-DROP")
        return cls(float(found[1]) / 100, found[2] == "%", text.strip())

    def limit(self, reference: float) -> float:
        """The loss allowed where the float model scores `reference`."""
        return self.amount * abs(reference) if self.relative else self.amount


@dataclass(frozen=True)
class Gate:
    """Limits that a result must meet.

    The loss is, in this order of what is there: the user's metric (each, where it has several), accuracy on labels,
    ``1 - top-1 agreement``, the relative L2 of the worst output. A point is 0.01; for a metric that does not lie
    between 0 and 1 use ``%``.

    Attributes:
        max_drop: ``0.5pt`` or ``1%``; None for no limit.
        min_sqnr: Lowest signal-to-quantization-noise ratio of the worst output, dB; None for no limit.
    """

    max_drop: str | None = None
    min_sqnr: float | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None:
            Drop.parse(self.max_drop)

    def check_resolution(
        self,
        source: DataSource | None,
        model: ir.Model | None = None,
        *,
        metric: Metric | None = None,
    ) -> None:
        """Refuse, before any work, a gate that the samples cannot resolve: one sample must not weigh more than it.

        Args:
            source: The samples that will measure.
            model: Tells whether unlabelled samples are counted at all (top-1), or measured (relative L2).
            metric: The user's own, if it will be used. Its attribute ``counted``, a function of the labels, says how
                many samples it divides by (for sensitivity: the positives); without, a sample's weight is not known.

        Raises:
            UsageError: With the number of samples needed.
        """
        if self.max_drop is None or source is None:
            return
        drop = Drop.parse(self.max_drop)
        found = _counted(source, model) if metric is None else _counted_by(metric, source)
        needed = math.ceil(1 / drop.amount - 1e-9) if drop.amount else 0
        if found is None or found[0] >= needed:
            return
        count, which = found
        each = "the only sample" if count == 1 else f"one of {count} {which}"
        why = f"{each} weighs {100 / count:.3g}pt, more than {drop.text}" if count else f"there are no {which}"
        hint = f"Measure on at least {needed} {which} (--eval-data, or more --data), or allow a larger --max-drop."
        raise UsageError("the quality gate cannot be resolved", why=why, hint=hint, code="USAGE-GATE-RESOLUTION")

    def check(self, comparison: Comparison, hint: str = _HINT) -> None:
        """Hold a comparison to the limits.

        Args:
            comparison: What was measured.
            hint: What to do where a limit is missed.

        Raises:
            GateError: Where one is not met.
        """
        below, over = self._noise(comparison), self._drop(comparison)
        if below:
            why = f"SQNR is {comparison.sqnr_db:.1f} dB and {self.min_sqnr:g} dB was asked for"
            raise _gate_error(why, hint, "GATE-SQNR")
        if over:
            why = f"{self.lost(comparison)} on {comparison.samples} samples and {self.max_drop} was allowed"
            raise _gate_error(why, hint, "GATE-MAX-DROP")

    def excess(self, comparison: Comparison) -> tuple[float, float]:
        """How far the limits are missed: the loss beyond ``max_drop``, the dB below ``min_sqnr``; 0 where met."""
        return self._drop(comparison), self._noise(comparison)

    def lost(self, comparison: Comparison) -> str:
        """What is counted, of several metrics the one furthest beyond its limit, and how much went, in points."""
        what, _, lost = max(_losses(comparison), key=self._over)
        return f"{what} lost {100 * lost:.2f}pt"

    def _noise(self, comparison: Comparison) -> float:
        if self.min_sqnr is None or not comparison.sqnr_db < self.min_sqnr:
            return 0.0
        return self.min_sqnr - comparison.sqnr_db

    def _drop(self, comparison: Comparison) -> float:
        if self.max_drop is None:
            return 0.0
        over = max(self._over(one) for one in _losses(comparison))
        return 0.0 if over <= 1e-12 else over if math.isfinite(over) else math.inf

    def _over(self, loss: tuple[str, float, float]) -> float:
        """How much more is lost than is allowed; all of it where no limit is set."""
        _, before, lost = loss
        return lost - (0.0 if self.max_drop is None else Drop.parse(self.max_drop).limit(before))


def _counted(source: DataSource, model: ir.Model | None) -> tuple[int, str] | None:
    """How many samples accuracy or agreement divides by; None where outputs are measured, not counted."""
    labelled = len(source) > 0 and source.labels(np.arange(1)) is not None
    return None if not labelled and model is not None and not class_output(model) else (len(source), "samples")


def _counted_by(metric: Metric, source: DataSource) -> tuple[int, str] | None:
    """How many samples a metric says that it divides by; None where it does not, or where labels are missing."""
    labels = source.labels(np.arange(len(source)))
    number = None if labels is None else count_of(metric, labels)
    return None if number is None else (number, "samples that the metric counts")


def loss(comparison: Comparison) -> tuple[str, float, float]:
    """What a gate counts: its name, the reference's score, and what the candidate lost of it; of several the most."""
    return max(_losses(comparison), key=lambda one: one[2])


def _losses(comparison: Comparison) -> list[tuple[str, float, float]]:
    """Every loss that a gate holds: one, or one for each name of the user's metric."""
    if comparison.metrics:
        return [(name, before, before - after) for name, (before, after) in comparison.metrics.items()]
    pairs = (
        ("the metric", comparison.metric_reference, comparison.metric_candidate),
        ("accuracy", comparison.accuracy_reference, comparison.accuracy_candidate),
        ("top-1 agreement", 1.0, comparison.top1_agreement),
    )
    for name, before, after in pairs:
        if before is not None and after is not None:
            return [(name, before, before - after)]
    return [("relative L2", 1.0, comparison.relative_l2)]


def _gate_error(why: str, hint: str, code: str) -> GateError:
    return GateError("the result does not meet the quality gate; nothing was written", why=why, hint=hint, code=code)
