"""How close a student is to its aim on samples that do not train it: its teacher, or labels where those alone train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.data import DataSource
from onnxcompress.distill.batches import Run, runs_of
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.losses.base import Tensors
from onnxcompress.distill.losses.labels import IGNORED, label_error
from onnxcompress.distill.losses.soft import soft_targets
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.teacher import Teacher
from onnxcompress.runtime_options import RuntimeOptions

# Below this many positions one sample moves the agreement by more than noise; the error decides alone.
_COARSE = 200


@dataclass(frozen=True, order=False)
class Closeness:
    """A student's distance to its teacher, or to labels.

    Attributes:
        agreement: Share of equal top-1 classes over all class outputs; None without classes.
        error: Mean over the outputs of KL (classes) or mean (s - t)^2 / mean t^2 (values); to labels, cross-entropy.
        positions: Classified positions that `agreement` counts.
    """

    agreement: float | None
    error: float
    positions: int = 0

    @property
    def finite(self) -> bool:
        """True where the student answers numbers."""
        return bool(np.isfinite(self.error))

    def better_than(self, other: Closeness) -> bool:
        """True where this one is to be preferred: by agreement where that differs by more than luck, else by error."""
        if not self.finite:
            return False
        if self.agreement is None or other.agreement is None or self.positions < _COARSE:
            return self.error < other.error
        gain = self.agreement - other.agreement
        if abs(gain) > _luck(self.agreement, other.agreement, self.positions):
            return gain > 0
        return self.error < other.error

    def close(self, share: float) -> bool:
        """True where the student is as good as its teacher, by more than the luck of the samples.

        Args:
            share: Of equal classes that at least must be there; 1 is never reached. Few samples show it only where
                the divergence is below a tenth of 1 - `share` as well. Without classes, 1 - `share` is the root mean
                square error that is allowed, in units of the teacher's root mean square.
        """
        if share >= 1.0 or not self.finite:
            return False
        if self.agreement is None:
            return self.error <= (1 - share) ** 2
        if self.agreement >= share and self.error <= (1 - share) / 10:
            return True
        return _at_least(self.agreement, self.positions) >= share


def _luck(first: float, second: float, count: int) -> float:
    """Standard error of a share seen in `count` trials; the larger of the two."""
    return max(float(np.sqrt(p * (1 - p) / count)) for p in (first, second))


def _at_least(share: float, count: int) -> float:
    """Lower end of the 90 % interval of a share that was seen in `count` trials (Wilson 1927)."""
    z = 1.645
    middle, spread = share + z * z / (2 * count), z * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return float((middle - spread) / (1 + z * z / count))


class Examiner:
    """Measures students on fixed samples; the teacher runs once.

    Args:
        model: The student.
        source: The samples.
        answers: The tensors compared.
        teacher: The teacher, giving at least those.
        power: The teacher's mean squares.
        labels: Labels are the aim, and not the teacher; every sample has one.
        batch: Samples in one run.
        most: Samples used at most.
    """

    def __init__(
        self,
        model: ir.Model,
        source: DataSource,
        answers: Sequence[Answer],
        teacher: Teacher,
        power: Mapping[str, float],
        *,
        labels: bool = False,
        batch: int = 64,
        most: int = 2000,
    ) -> None:
        count = min(len(source), most)
        self._answers, self._power, self._labels = answers, power, labels
        names = {a.name for a in answers}
        self._runs = [
            (run, {} if labels else run.real({n: t for n, t in teacher.tensors(run.feeds).items() if n in names}))
            for start in range(0, count, batch)
            for run in runs_of(model, source, np.arange(start, min(start + batch, count)), of=count)
        ]
        ids = [run.labels for run, _ in self._runs]
        self._largest = (
            None
            if any(y is None or int(y.min()) < 0 for y in ids)
            else max((int(y.max()) for y in ids if y is not None), default=0)
        )

    def measure(self, bridge: Bridge) -> Closeness:
        """The student as it is now in torch."""
        extra = [a.name for a in self._answers]
        return self._measured(lambda feeds: bridge.specialise(feeds, extra).run(feeds))

    def measure_file(self, model: ir.Model, options: RuntimeOptions) -> Closeness:
        """A student as ONNX Runtime computes it."""
        return self._measured(Teacher(model, [a.name for a in self._answers], (), options).tensors)

    def _measured(self, answers_to: Callable[[Mapping[str, np.ndarray]], Tensors]) -> Closeness:
        found = self._by_labels if self._labels else self._by_teacher
        hits, total, error = 0, 0, 0.0
        with torch.no_grad():
            for run, teacher in self._runs:
                far, equal = found(run, run.real(answers_to(run.feeds)), teacher)
                error += run.share * far
                hits, total = hits + int(equal.sum()), total + equal.numel()
        return Closeness(hits / total if total else None, error, total)

    def _by_teacher(self, run: Run, student: Tensors, teacher: Tensors) -> tuple[float, torch.Tensor]:
        """The error of one run, and for each position whether the classes are equal."""
        error = float(np.mean([self._error(a, student, teacher, run.labels) for a in self._answers]))
        alike = [a for a in self._answers if a.classes and not a.foreign]
        pairs = [(student[a.name].argmax(a.axis), teacher[a.name].argmax(a.axis)) for a in alike]
        return error, torch.cat([torch.empty(0, dtype=torch.bool), *((m == t).flatten() for m, t in pairs)])

    def _by_labels(self, run: Run, student: Tensors, teacher: Tensors) -> tuple[float, torch.Tensor]:
        """The same against labels, which belong to the first output that is a choice among classes."""
        answer = next(a for a in self._answers if a.classes)
        mine, labels = student[answer.name], run.labels
        assert labels is not None
        known = labels != IGNORED
        return float(label_error(mine, labels, answer)), (mine.argmax(answer.axis) == labels)[known]

    def _error(self, answer: Answer, student: Tensors, teacher: Tensors, labels: torch.Tensor | None) -> float:
        mine, theirs = student[answer.name], teacher[answer.name]
        if answer.foreign:
            known = answer.classes and self._largest is not None and self._largest < mine.shape[answer.axis]
            return _foreign_error(answer, mine, theirs, labels if known else None)
        if answer.classes:
            return float(soft_targets(mine, theirs, answer, 1.0))
        return float(squared_error(mine, theirs, self._power[answer.name]))


def _foreign_error(answer: Answer, mine: torch.Tensor, theirs: torch.Tensor, labels: torch.Tensor | None) -> float:
    """Cross-entropy with labels where there are any, else how unlike the teacher's the relations of samples are."""
    if labels is not None:
        return float(label_error(mine[: len(labels)], labels, answer))
    rows = [tensor.movedim(answer.axis, -1).flatten(0, -2) for tensor in (mine, theirs)]
    return float(unlikeness(*rows))


def unlikeness(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """1 - linear CKA (Kornblith et al. 2019, 1905.00414) of two sets of rows: 0 where one is the other, turned.

    1 - |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F) of centred rows; 1 where either does not vary.
    """
    x, y = (t.double() - t.double().mean(0) for t in (mine, theirs))
    size = torch.linalg.norm(x.T @ x) * torch.linalg.norm(y.T @ y)
    return 1 - (torch.linalg.norm(y.T @ x).square() / size if float(size) > 0 else torch.zeros(()))
