"""Normalised squared error: mean (s - t)^2 / mean t^2, for outputs and logits (Ba and Caruana, 1312.6184)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.outputs import Answer


def squared_error(student: torch.Tensor, teacher: torch.Tensor, power: float) -> torch.Tensor:
    """Mean squared difference in units of `power`, the teacher's mean square over a fixed set of samples."""
    return (student - teacher).square().mean() / power


@dataclass(frozen=True)
class Squares(Term):
    """Mean over the outputs of their normalised squared errors.

    Attributes:
        answers: The outputs.
        power: The teacher's mean square of each.
    """

    name: ClassVar[str] = "mse"
    answers: tuple[Answer, ...]
    power: Mapping[str, float]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The outputs."""
        return tuple(a.name for a in self.answers)

    def value(self, sample: Sample) -> torch.Tensor:
        """mean_o mean (s_o - t_o)^2 / mean t_o^2."""
        errors = [squared_error(sample.student[n], sample.teacher[n], self.power[n]) for n in self.tensors]
        return torch.stack(errors).mean()
