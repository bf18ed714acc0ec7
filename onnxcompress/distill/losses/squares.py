"""Normalised squared error: mean (s - t)^2 / mean t^2, for outputs and logits (Ba and Caruana, 1312.6184)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch

from onnxcompress.distill.losses.base import MeanTerm
from onnxcompress.distill.outputs import Answer


def squared_error(student: torch.Tensor, teacher: torch.Tensor, power: float) -> torch.Tensor:
    """Mean squared difference in units of `power`, the teacher's mean square over a fixed set of samples."""
    return cast("torch.Tensor", _MeanSquare.apply(student, teacher)) / power


class _MeanSquare(torch.autograd.Function):
    """mean (s - t)^2 with the gradients +-(2 / n) (s - t), in two passes over the tensors each way and no copy kept."""

    @staticmethod
    def forward(ctx: Any, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The mean."""
        ctx.save_for_backward(student, teacher)
        far = student - teacher
        return far.mul_(far).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """For both, where it is wanted."""
        student, teacher = ctx.saved_tensors
        far = (student - teacher).mul_(gradients[0] / student.numel() * 2)
        wanted = ctx.needs_input_grad
        return far if wanted[0] else None, far.neg() if wanted[1] else None


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
