"""The regularizer beta H(q'): entropy of the student's own answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.losses.soft import logits
from onnxcompress.distill.outputs import Answer


@dataclass(frozen=True)
class Entropy(Term):
    """H(softmax(s)) / log C, between 0 and 1, mean over positions and class outputs.

    A weight beta > 0 makes the student more decided, beta < 0 less (the confidence penalty of Pereyra et al. 2017,
    1701.06548).

    Attributes:
        answers: The class outputs.
    """

    name: ClassVar[str] = "entropy"
    relative: ClassVar[bool] = False
    answers: tuple[Answer, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The class outputs."""
        return tuple(a.name for a in self.answers)

    def value(self, sample: Sample) -> torch.Tensor:
        """The mean over the class outputs."""
        return torch.stack([_one(a, sample.student[a.name]) for a in self.answers]).mean()


def _one(answer: Answer, student: torch.Tensor) -> torch.Tensor:
    log = nnf.log_softmax(logits(student, answer.kind), answer.axis)
    return -(log.exp() * log).sum(answer.axis).mean() / math.log(student.shape[answer.axis])
