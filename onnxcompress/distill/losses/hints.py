"""Hints (Romero et al. 2014, 1412.6550): the student's inner tensors follow the teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.taps import Tap


@dataclass(frozen=True)
class Hints(Term):
    """Mean over the taps of mean (f_s - f_t)^2 / mean f_t^2.

    Attributes:
        taps: Inner tensors.
        power: The teacher's mean square of each.
    """

    name: ClassVar[str] = "hints"
    taps: tuple[Tap, ...]
    power: Mapping[str, float]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The taps."""
        return tuple(t.name for t in self.taps)

    def value(self, sample: Sample) -> torch.Tensor:
        """The mean of the taps' normalised squared errors."""
        errors = [squared_error(sample.student[n], sample.teacher[n], self.power[n]) for n in self.tensors]
        return torch.stack(errors).mean()
