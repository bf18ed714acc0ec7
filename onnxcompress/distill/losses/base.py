"""What a loss term is: a name, the tensors it reads, a value to make small, and what it learns along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import torch

Tensors = Mapping[str, torch.Tensor]


class Named(Protocol):
    """Something that is compared under the student's name for it: an output, an inner tensor."""

    @property
    def name(self) -> str:
        """The student's name."""
        ...


Compared = TypeVar("Compared", bound=Named)


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

    @property
    def fits(self) -> bool:
        """True where `prepare` needs samples."""
        return False

    def prepare(self, samples: Sequence[Sample]) -> None:  # noqa: B027  # most terms learn nothing
        """Give learned parameters their start, from what both make of some samples before training."""


@dataclass(frozen=True)
class MeanTerm(Term, Generic[Compared]):
    """A term that compares tensors one by one: the mean over them.

    Attributes:
        compared: The outputs or inner tensors.
    """

    compared: tuple[Compared, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of those compared."""
        return tuple(c.name for c in self.compared)

    def value(self, sample: Sample) -> torch.Tensor:
        """The mean of `one` over those compared."""
        values = [self.one(c, sample.student[c.name], sample.teacher[c.name]) for c in self.compared]
        return torch.stack(values).mean()

    @abstractmethod
    def one(self, compared: Compared, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """What is made small of one of them."""
