"""Soft targets of standardised logits (Sun et al. 2024, 2403.01427): the student need not copy the teacher's scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from onnxcompress.distill.losses.base import MeanTerm
from onnxcompress.distill.losses.soft import divergence, logits
from onnxcompress.distill.outputs import Answer

_EPSILON = 1e-7


@dataclass(frozen=True)
class Standardised(MeanTerm[Answer]):
    """T^2 KL(softmax(z(t)/T) || softmax(z(s)/T)), z(l) = (l - mean l) / std l over the classes.

    Attributes:
        compared: The class outputs.
        temperature: T; the paper's base is 2.
    """

    name: ClassVar[str] = "std"
    temperature: float = 2.0

    def one(self, compared: Answer, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The divergence of standardised logits."""
        mine = standardised(logits(student, compared.kind), compared.axis)
        theirs = standardised(logits(teacher, compared.teacher_kind), compared.axis)
        return divergence(mine, theirs, compared.axis, self.temperature)


def standardised(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """(l - mean l) / (std l + 1e-7) along `axis`."""
    return (tensor - tensor.mean(axis, keepdim=True)) / (tensor.std(axis, keepdim=True) + _EPSILON)
