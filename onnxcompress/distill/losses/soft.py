"""Soft targets (Hinton et al. 2015, arXiv 1503.02531): T^2 KL(softmax(t/T) || softmax(s/T))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import MeanTerm
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.outputs import Answer


def soft_targets(student: torch.Tensor, teacher: torch.Tensor, answer: Answer, temperature: float) -> torch.Tensor:
    """Mean over all positions of the divergence along the class axis, times T^2."""
    return divergence(logits(student, answer.kind), logits(teacher, answer.teacher_kind), answer.axis, temperature)


def divergence(student: torch.Tensor, teacher: torch.Tensor, axis: int, temperature: float) -> torch.Tensor:
    """T^2 KL(softmax(t/T) || softmax(s/T)) along `axis`, mean over all other positions."""
    mine = nnf.log_softmax(student / temperature, axis)
    theirs = nnf.log_softmax(teacher / temperature, axis)
    return (theirs.exp() * (theirs - mine)).sum(axis).mean() * temperature**2


def logits(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    """Logits as they are; of probabilities the logarithm, which is the same up to a constant."""
    return tensor if kind == "logits" else tensor.clamp(min=1e-7).log()


@dataclass(frozen=True)
class SoftTargets(MeanTerm[Answer]):
    """Soft targets of the class outputs; outputs without classes beside them by squared error.

    Attributes:
        compared: The outputs.
        power: The teacher's mean square of each.
        temperature: T.
    """

    name: ClassVar[str] = "kl"
    power: Mapping[str, float]
    temperature: float = 4.0

    def one(self, compared: Answer, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The divergence of classes, the squared error of values."""
        if compared.classes:
            return soft_targets(student, teacher, compared, self.temperature)
        return squared_error(student, teacher, self.power[compared.name])
