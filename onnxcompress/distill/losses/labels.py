"""Cross-entropy with labels, where the data has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.outputs import Answer

IGNORED = -100
"""A label that cross-entropy passes over, as torch has it."""


def label_error(student: torch.Tensor, labels: torch.Tensor, answer: Answer) -> torch.Tensor:
    """Mean cross-entropy of class ids along the class axis; what has none counts as 0, so that parts add up."""
    moved = student.movedim(answer.axis, 1) if student.ndim > 2 else student
    logits = moved.clamp(min=1e-7).log() if answer.kind == "probabilities" else moved
    entropy = nnf.nll_loss if answer.kind == "probabilities" else nnf.cross_entropy
    if bool((labels != IGNORED).all()):
        return entropy(logits, labels)
    return entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / labels.numel()


@dataclass(frozen=True)
class Labels(Term):
    """CE(softmax(s), y) of the first class output.

    Attributes:
        answer: That output.
    """

    name: ClassVar[str] = "ce"
    answer: Answer

    @property
    def tensors(self) -> tuple[str, ...]:
        """The output."""
        return (self.answer.name,)

    def value(self, sample: Sample) -> torch.Tensor:
        """The mean cross-entropy."""
        assert sample.labels is not None
        return label_error(sample.student[self.answer.name], sample.labels, self.answer)
