"""Quality gates: how much may be lost before nothing is written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.errors import GateError, UsageError
from onnxcompress.verify.comparison import Comparison
from onnxcompress.verify.quality import class_output

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

    The loss is, in this order of what is there: the user's metric, accuracy on labels, ``1 - top-1 agreement``, the
    relative L2 of the worst output. A point is 0.01; for a metric that does not lie between 0 and 1 use ``%``.

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
        self, source: DataSource | None, model: ir.Model | None = None, *, metric: bool = False
    ) -> None:
        """Refuse, before any work, a gate that the samples cannot resolve: one sample must not weigh more than it.

        Args:
            source: The samples that will measure.
            model: Tells whether unlabelled samples are counted at all (top-1), or measured (relative L2).
            metric: True where the user's own metric will be used, whose weight of a sample is not known.

        Raises:
            UsageError: With the number of samples needed.
        """
        if self.max_drop is None or source is None or metric:
            return
        drop = Drop.parse(self.max_drop)
        labelled = len(source) > 0 and source.labels(np.arange(1)) is not None
        if not labelled and model is not None and not class_output(model):
            return
        needed = math.ceil(1 / drop.amount - 1e-9) if drop.amount else 0
        if drop.amount and len(source) < needed:
            weighing = "the only sample" if len(source) == 1 else f"one of {len(source)} samples"
            why = f"{weighing} weighs {100 / len(source):.3g}pt, more than {drop.text}"
            hint = f"Measure on at least {needed} samples (--eval-data, or more --data), or allow a larger --max-drop."
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
        """What is counted, and how much of it went, in points."""
        what, _, lost = loss(comparison)
        return f"{what} lost {100 * lost:.2f}pt"

    def _noise(self, comparison: Comparison) -> float:
        if self.min_sqnr is None or not comparison.sqnr_db < self.min_sqnr:
            return 0.0
        return self.min_sqnr - comparison.sqnr_db

    def _drop(self, comparison: Comparison) -> float:
        if self.max_drop is None:
            return 0.0
        _, before, lost = loss(comparison)
        over = lost - Drop.parse(self.max_drop).limit(before)
        return 0.0 if over <= 1e-12 else over if math.isfinite(over) else math.inf


def loss(comparison: Comparison) -> tuple[str, float, float]:
    """What a gate counts: its name, the reference's score, and what the candidate lost of it."""
    pairs = (
        ("the metric", comparison.metric_reference, comparison.metric_candidate),
        ("accuracy", comparison.accuracy_reference, comparison.accuracy_candidate),
        ("top-1 agreement", 1.0, comparison.top1_agreement),
    )
    for name, before, after in pairs:
        if before is not None and after is not None:
            return name, before, before - after
    return "relative L2", 1.0, comparison.relative_l2


def _gate_error(why: str, hint: str, code: str) -> GateError:
    return GateError("the result does not meet the quality gate; nothing was written", why=why, hint=hint, code=code)
