"""Normalised squared error: mean (s - t)^2 / mean t^2, for outputs and logits (Ba and Caruana, 1312.6184)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from onnxcompress.distill.losses.base import MeanTerm
from onnxcompress.distill.outputs import Answer


def squared_error(student: torch.Tensor, teacher: torch.Tensor, power: float) -> torch.Tensor:
    """Mean squared difference in units of `power`, the teacher's mean square over a fixed set of samples."""
    return (student - teacher).square().mean() / power


@dataclass(frozen=True)
class Squares(MeanTerm[Answer]):
    """Mean over the outputs of their normalised squared errors.

    Attributes:
        compared: The outputs.
        power: The teacher's mean square of each.
    """

    name: ClassVar[str] = "mse"
    power: Mapping[str, float]

    def one(self, compared: Answer, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Mean (s - t)^2 / mean t^2."""
        return squared_error(student, teacher, self.power[compared.name])
