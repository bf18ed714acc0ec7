"""Hints (Romero et al. 2014, 1412.6550): the student's inner tensors follow the teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from onnxcompress.distill.losses.base import MeanTerm, Sample
from onnxcompress.distill.losses.projection import Projection, fitted, pooled, rows
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.taps import Tap


@dataclass(frozen=True)
class Hints(MeanTerm[Tap]):
    """Mean over the taps of mean (r(f_s) - f_t)^2 / mean f_t^2.

    r is nothing where the tensors are the same ones by name and size (or by the record of kept channels); else a
    learned projection of the student's channels that starts at the least-squares fit and is thrown away after training.
    Pictures of different size are averaged down to the smaller.

    Attributes:
        compared: Inner tensors.
        power: The teacher's mean square of each.
    """

    name: ClassVar[str] = "hints"
    power: Mapping[str, float]
    projections: dict[str, Projection] = field(default_factory=dict[str, Projection])

    def parameters(self) -> list[torch.nn.Parameter]:
        """The projections."""
        return [p for projection in self.projections.values() for p in projection.parameters()]

    @property
    def fits(self) -> bool:
        """Where there are projections."""
        return any(tap.projected for tap in self.compared)

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Fit the projections."""
        for tap in self.compared:
            if tap.projected:
                pairs = [_brought_together(tap.channel, s.student[tap.name], s.teacher[tap.name]) for s in samples]
                given, wanted = (rows(tensors, tap.channel) for tensors in zip(*pairs, strict=True))
                self.projections[tap.name] = fitted(given, wanted)

    def one(self, compared: Tap, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The normalised squared error, of what the projection makes of the student's where there is one."""
        if compared.projected:
            student, teacher = _brought_together(compared.channel, student, teacher)
            student = self.projections[compared.name](student, compared.channel)
        return squared_error(student, teacher, self.power[compared.name])


def _brought_together(axis: int, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return pooled(a, axis, b.shape), pooled(b, axis, a.shape)
