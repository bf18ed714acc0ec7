"""What a comparison of two models found, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxcompress.report import Finding
from onnxcompress.verify.intervals import Interval
from onnxcompress.verify.numbers import OutputComparison


@dataclass(frozen=True)
class Comparison:
    """A candidate against a reference on the same samples.

    Attributes:
        outputs: Distance by output name.
        samples: Number of samples.
        class_output: The output whose largest entry is a class; empty where there is none.
        top1_agreement: Fraction of samples on which both name the same class; None without such an output.
        agreement_interval: Its 95 % interval (Wilson).
        accuracy_reference: Fraction of labels that the reference gets right; None without labels.
        accuracy_candidate: The same of the candidate.
        accuracy_interval: 95 % interval of candidate minus reference, paired (Agresti and Min).
        metric_reference: The user's metric of the reference; None where there is none.
        metric_candidate: The same of the candidate.
        metric_interval: 95 % interval of candidate minus reference (jackknife over groups).
        metric_name: Which one that is where the metric has several by name: the one that lost most.
        metrics: Reference and candidate of each of several, by name; empty where there is one.
        findings: Notes of the runs.
    """

    outputs: Mapping[str, OutputComparison]
    samples: int
    class_output: str = ""
    top1_agreement: float | None = None
    agreement_interval: Interval | None = None
    accuracy_reference: float | None = None
    accuracy_candidate: float | None = None
    accuracy_interval: Interval | None = None
    metric_reference: float | None = None
    metric_candidate: float | None = None
    metric_interval: Interval | None = None
    metric_name: str = ""
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    findings: tuple[Finding, ...] = field(default=())

    @property
    def max_abs(self) -> float:
        """Largest absolute difference over all outputs."""
        return max((one.max_abs for one in self.outputs.values()), default=0.0)

    @property
    def relative_l2(self) -> float:
        """Relative L2 of the worst output."""
        return max((one.relative_l2 for one in self.outputs.values()), default=0.0)

    @property
    def cosine(self) -> float:
        """Cosine of the worst output."""
        return min((one.cosine for one in self.outputs.values()), default=1.0)

    @property
    def sqnr_db(self) -> float:
        """SQNR of the worst output in dB; infinite where all are equal."""
        return min((one.sqnr_db for one in self.outputs.values()), default=math.inf)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with the report's keys; figures that do not exist, or are infinite, are left out."""
        figures: dict[str, Any] = {
            "samples": self.samples,
            "top1_agreement": self.top1_agreement,
            "agreement_interval": self.agreement_interval,
            "accuracy_before": self.accuracy_reference,
            "accuracy_after": self.accuracy_candidate,
            "metric_before": self.metric_reference,
            "metric_after": self.metric_candidate,
            "interval": self.accuracy_interval if self.metric_reference is None else self.metric_interval,
            **{name: getattr(self, name) for name in ("max_abs", "relative_l2", "cosine", "sqnr_db")},
        }
        plain = {name: _plain(value) for name, value in figures.items() if _exists(value)}
        several = {"metric_name": self.metric_name, "metrics": {k: list(v) for k, v in self.metrics.items()}}
        return {
            **plain,
            **(several if self.metrics else {}),
            "outputs": {name: _figures(one) for name, one in self.outputs.items()},
        }


def _figures(one: OutputComparison) -> dict[str, Any]:
    kept = {name: getattr(one, name) for name in ("max_abs", "relative_l2", "cosine", "sqnr_db", "equal", "elements")}
    return {name: value for name, value in kept.items() if _exists(value)}


def _exists(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
