"""Direction of outputs: for embeddings, which are compared by their angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.outputs import Answer

_PICTURE = 4


@dataclass(frozen=True)
class Cosine(Term):
    """Mean over outputs and positions of 1 - <s, t> / (|s| |t|), along the classes or channels.

    The axis is that of the classes; of other outputs the last, of pictures the channels.

    Attributes:
        answers: The outputs.
    """

    name: ClassVar[str] = "cos"
    answers: tuple[Answer, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The outputs."""
        return tuple(a.name for a in self.answers)

    def value(self, sample: Sample) -> torch.Tensor:
        """The mean over the outputs."""
        return torch.stack([_one(a, sample.student[a.name], sample.teacher[a.name]) for a in self.answers]).mean()


def _one(answer: Answer, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    axis = answer.axis if answer.classes else 1 if student.ndim == _PICTURE else -1
    return 1 - nnf.cosine_similarity(student, teacher, dim=axis).mean()
