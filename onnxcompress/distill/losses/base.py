"""What a loss term is: a name, the tensors it reads, a value to make small, and what it learns along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Sample:
    """What student and teacher make of some samples, by the student's tensor names.

    Attributes:
        student: The student's tensors.
        teacher: The teacher's.
        labels: Class ids, or None.
    """

    student: Tensors
    teacher: Tensors
    labels: torch.Tensor | None = None


class Term(ABC):
    """One term of the objective.

    Class attributes:
        name: Its name in ``--loss``.
        relative: It is counted in units of its first value; a regularizer that has a unit of its own is not.
    """

    name: ClassVar[str]
    relative: ClassVar[bool] = True

    @property
    @abstractmethod
    def tensors(self) -> tuple[str, ...]:
        """The student's names of the tensors it reads."""

    @abstractmethod
    def value(self, sample: Sample) -> torch.Tensor:
        """What is made small."""

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is learned along with the student and thrown away after it."""
        return []

    def prepare(self, samples: Sequence[Sample]) -> None:  # noqa: B027  # most terms learn nothing
        """Give learned parameters their start, from what both make of some samples before training."""
