"""The training objective: a weighted sum of terms, each in units of its own first value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from onnxcompress.distill.losses.labels import label_error
from onnxcompress.distill.losses.soft import soft_targets
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.taps import Tap

Tensors = Mapping[str, torch.Tensor]


@dataclass
class Objective:
    """What training makes small.

    Attributes:
        weights: Weight of each term.
        answers: Tensors that stand for the outputs.
        taps: Inner tensors compared by hints.
        power: The teacher's mean square of each tensor, over a fixed set of samples.
        temperature: T of the soft targets.
        first: Value of each term at the start; the unit it is counted in.
    """

    weights: Mapping[str, float]
    answers: tuple[Answer, ...]
    taps: tuple[Tap, ...]
    power: Mapping[str, float]
    temperature: float = 4.0
    first: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tensors that the terms need."""
        hints = [tap.name for tap in self.taps] if "hints" in self.weights else []
        return tuple(dict.fromkeys([*(a.name for a in self.answers), *hints]))

    def terms(self, student: Tensors, teacher: Tensors, labels: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """The raw value of each term."""
        made = {
            "hints": lambda: self._squares([t.name for t in self.taps], student, teacher),
            "mse": lambda: self._squares([a.name for a in self.answers], student, teacher),
            "kl": lambda: self._soft(student, teacher),
            "ce": lambda: self._labels(student, labels),
        }
        return {name: made[name]() for name in self.weights}

    def value(self, student: Tensors, teacher: Tensors, labels: torch.Tensor | None) -> torch.Tensor:
        """The weighted sum, every term divided by its value at the start."""
        terms = self.terms(student, teacher, labels)
        return torch.stack([self.weights[n] * t / max(self.first.get(n, 1.0), 1e-12) for n, t in terms.items()]).sum()

    def _squares(self, names: list[str], student: Tensors, teacher: Tensors) -> torch.Tensor:
        errors = [squared_error(student[n], teacher[n], self.power[n]) for n in names]
        return torch.stack(errors).mean()

    def _soft(self, student: Tensors, teacher: Tensors) -> torch.Tensor:
        """Soft targets of the class outputs; outputs without classes beside them by squared error."""
        parts = [
            soft_targets(student[a.name], teacher[a.name], a, self.temperature)
            if a.classes
            else squared_error(student[a.name], teacher[a.name], self.power[a.name])
            for a in self.answers
        ]
        return torch.stack(parts).mean()

    def _labels(self, student: Tensors, labels: torch.Tensor | None) -> torch.Tensor:
        answer = next(a for a in self.answers if a.classes)
        assert labels is not None
        return label_error(student[answer.name], labels, answer)


def powers(tensors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean square of each tensor, never zero."""
    return {n: max(float(np.mean(np.square(a, dtype=np.float64))), 1e-12) for n, a in tensors.items()}
