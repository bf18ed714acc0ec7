"""One training run on its way: what was done, what was best, when to measure, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from onnxcompress.distill.measure import Closeness
from onnxcompress.distill.optimization import Average

# Measurements in one run.
EVALUATIONS = 10
# Steps that may fail in a row before training gives up.
_FAILURES = 10

Point = tuple[int, float, float, float]
"""Step, loss, agreement (-1 where there are no classes), error."""


@dataclass
class Training:
    """What one training run did.

    Attributes:
        best: Closeness of the weights that were kept.
        steps: Steps taken.
        skipped: Steps left out because a gradient was not finite.
        culprit: Name of the last weight whose gradient was not finite.
        stop: Why it ended: ``done``, ``close``, ``plateau`` or ``not finite``.
        loss: The objective at the last step, 1 at the start.
        curve: What every measurement found.
        sparse: Weight tensors whose zeros were kept.
        gained: A step came closer than the start, so that its weights were kept.
    """

    best: Closeness
    steps: int = 0
    skipped: int = 0
    culprit: str = ""
    stop: str = "done"
    loss: float = 1.0
    curve: list[Point] = field(default_factory=list[Point])
    sparse: int = 0
    gained: bool = False


@dataclass(frozen=True)
class Habits:
    """How training is done, apart from pace and rate.

    Attributes:
        follow: Batch normalization follows the batches' statistics.
        optimizer: ``adamw`` or ``sgd``.
        ema: Decay of the averaged weights that are measured and kept; 0 for the weights themselves.
        patience: Measurements without a gain after which training stops; 0 for never.
        close: Share of equal classes at which training stops.
    """

    follow: bool = False
    optimizer: str = "adamw"
    ema: float = 0.0
    patience: int = 0
    close: float = 1.0


class Course:
    """The state of a run.

    Args:
        tensors: All that training moves.
        measure: Measures them.
        habits: When to stop, and whether averages are kept.

    Attributes:
        training: The record so far.
        over: Nothing more is to be won.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], measure: Callable[[], Closeness], habits: Habits) -> None:
        self._tensors, self._measure, self._habits = list(tensors), measure, habits
        self.training = Training(measure())
        self._kept = copies(tensors)
        self._average = Average(tensors, habits.ema) if habits.ema else None
        self._measured, self._at, self._vain, self._failed = 0, 0, 0, 0
        self.over = False

    def after_step(self, done: float, *, fine: bool) -> bool:
        """Measure where a tenth of the run is over; stop where there is nothing more to win.

        Returns:
            True where it was measured.
        """
        self._failed = 0 if fine else self._failed + 1
        if self._failed >= _FAILURES:
            self._stop("not finite")
        if self._average is not None:
            self._average.update()
        due = int(done * EVALUATIONS) > self._measured
        if due:
            self._measured = int(done * EVALUATIONS)
            self._look()
        return due

    def end(self) -> None:
        """Measure what was not, and leave the best weights."""
        if self._at < self.training.steps and self.training.stop != "not finite":
            self._look()
        put_back(self._tensors, self._kept)

    def state(self) -> dict[str, Any]:
        """What a later run needs to go on."""
        average = None if self._average is None else (self._average.values, self._average.count)
        counts = [self._measured, self._at, self._vain, self._failed]
        training = {**asdict(self.training), "best": asdict(self.training.best)}
        return {
            "tensors": copies(self._tensors), "kept": self._kept, "average": average, "counts": counts,
            "training": training, "over": self.over,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        put_back(self._tensors, state["tensors"])
        self._kept = state["kept"]
        if self._average is not None:
            self._average.values, self._average.count = state["average"]
        self._measured, self._at, self._vain, self._failed = state["counts"]
        told: dict[str, Any] = dict(state["training"])
        told |= {"best": Closeness(**told["best"]), "curve": [tuple(point) for point in told["curve"]]}
        self.training = Training(**told)
        self.over = state["over"]

    def _look(self) -> None:
        training, self._at = self.training, self.training.steps
        if self._average is not None:
            self._average.swap()
        now = self._measure()
        shown = -1.0 if now.agreement is None else now.agreement
        training.curve.append((training.steps, training.loss, shown, now.error))
        better = now.better_than(training.best)
        if better:
            training.best, training.gained, self._kept = now, True, copies(self._tensors)
        if self._average is not None:
            self._average.swap()
        self._vain = 0 if better else self._vain + 1
        if now.close(self._habits.close):
            self._stop("close")
        elif self._habits.patience and self._vain >= self._habits.patience:
            self._stop("plateau")

    def _stop(self, why: str) -> None:
        self.training.stop, self.over = why, True


def copies(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of tensors as they are now."""
    return [tensor.detach().clone() for tensor in tensors]


def put_back(tensors: Sequence[torch.Tensor], saved: Sequence[torch.Tensor]) -> None:
    """Give tensors the numbers of their copies."""
    with torch.no_grad():
        for tensor, old in zip(tensors, saved, strict=True):
            tensor.copy_(old)
