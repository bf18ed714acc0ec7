"""Soft targets of standardised logits (Sun et al. 2024, 2403.01427): the student need not copy the teacher's scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.losses.soft import divergence, logits
from onnxcompress.distill.outputs import Answer

_EPSILON = 1e-7


@dataclass(frozen=True)
class Standardised(Term):
    """T^2 KL(softmax(z(t)/T) || softmax(z(s)/T)), z(l) = (l - mean l) / std l over the classes.

    Attributes:
        answers: The class outputs.
        temperature: T; the paper's base is 2.
    """

    name: ClassVar[str] = "std"
    answers: tuple[Answer, ...]
    temperature: float = 2.0

    @property
    def tensors(self) -> tuple[str, ...]:
        """The class outputs."""
        return tuple(a.name for a in self.answers)

    def value(self, sample: Sample) -> torch.Tensor:
        """The mean over the class outputs."""
        return torch.stack([self._one(a, sample) for a in self.answers]).mean()

    def _one(self, answer: Answer, sample: Sample) -> torch.Tensor:
        student = standardised(logits(sample.student[answer.name], answer.kind), answer.axis)
        teacher = standardised(logits(sample.teacher[answer.name], answer.teacher_kind), answer.axis)
        return divergence(student, teacher, answer.axis, self.temperature)


def standardised(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """(l - mean l) / (std l + 1e-7) along `axis`."""
    return (tensor - tensor.mean(axis, keepdim=True)) / (tensor.std(axis, keepdim=True) + _EPSILON)
