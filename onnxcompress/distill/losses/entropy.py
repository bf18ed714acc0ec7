"""The regularizer beta H(q'): entropy of the student's own answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import MeanTerm
from onnxcompress.distill.losses.soft import logits
from onnxcompress.distill.outputs import Answer


@dataclass(frozen=True)
class Entropy(MeanTerm[Answer]):
    """H(softmax(s)) / log C, between 0 and 1, mean over positions and class outputs.

    A weight beta > 0 makes the student more decided, beta < 0 less (the confidence penalty of Pereyra et al. 2017,
    1701.06548).

    Attributes:
        compared: The class outputs.
    """

    name: ClassVar[str] = "entropy"
    relative: ClassVar[bool] = False

    def one(self, compared: Answer, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """H(softmax(s)) / log C; the teacher has no part in it."""
        log = nnf.log_softmax(logits(student, compared.kind), compared.axis)
        return -(log.exp() * log).sum(compared.axis).mean() / math.log(student.shape[compared.axis])
