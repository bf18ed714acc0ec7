"""A learned matrix W_T between the outputs: Q_S ~ W_T Q_D, also where the sets of classes differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import MeanTerm, Sample
from onnxcompress.distill.losses.projection import fitted, rows
from onnxcompress.distill.losses.soft import divergence, logits
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.outputs import Answer
from onnxcompress.errors import UsageError

# Numbers that a matrix may hold.
_MOST = 1 << 24
_SMALL = 1e-6
# Least singular value of a start, in units of the largest: fitted to labels, and to a student's own outputs. A student
# that was never trained answers little more than one direction, which would be all that it learns.
_CHANCE, _LEAST = 0.01, 0.5


@dataclass(frozen=True)
class Matrix:
    """z = D W_T t + b: the teacher's outputs as targets for the student's.

    D holds the spread of each row of targets at that of the start, sqrt(w_c S w_c) with S the teacher's covariance
    over the samples. Without it W_T and the student could agree on a constant.

    Attributes:
        weight: W_T, [student's classes, teacher's].
        bias: b.
        covariance: S.
        spread: Of each row at the start.
    """

    weight: torch.nn.Parameter
    bias: torch.nn.Parameter
    covariance: torch.Tensor
    spread: torch.Tensor

    def __call__(self, teacher: torch.Tensor, axis: int) -> torch.Tensor:
        """The targets."""
        factor = self.spread / _spread(self.weight, self.covariance)
        weight = self.weight * factor[:, None]
        return nnf.linear(teacher.movedim(axis, -1), weight, self.bias).movedim(-1, axis)


@dataclass(frozen=True)
class Transfer(MeanTerm[Answer]):
    """T^2 KL(softmax(z/T) || softmax(s/T)) with z = W_T t + b; of outputs without classes mean (s - z)^2 / mean t^2.

    W_T is learned along with the student and thrown away after it. Where the sets are of one size it starts at the
    identity. Else it starts at the least-squares map (pseudo-inverse) of the teacher's outputs to the labels, or
    without labels to the student's own outputs, so that a class keeps its meaning; singular values are raised to half
    the largest then, so that a student that was never trained gets to hear the rest too. The whole is scaled to the
    teacher's spread. A student whose outputs do not vary gets a random matrix with orthogonal rows.

    Attributes:
        compared: The outputs.
        power: The teacher's mean square of each.
        temperature: T.
    """

    name: ClassVar[str] = "wt"
    power: Mapping[str, float]
    temperature: float = 4.0
    matrices: dict[str, Matrix] = field(default_factory=dict[str, Matrix])

    def parameters(self) -> list[torch.nn.Parameter]:
        """W_T and b of each output."""
        return [p for m in self.matrices.values() for p in (m.weight, m.bias)]

    @property
    def fits(self) -> bool:
        """Always: the matrices."""
        return True

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Give every matrix its start.

        Raises:
            UsageError: Where a matrix would be too large to learn.
        """
        for answer in self.compared:
            mine, theirs = samples[0].student[answer.name], samples[0].teacher[answer.name]
            count = mine.shape[answer.axis] * theirs.shape[answer.axis]
            if count > _MOST:
                why, hint = f"the matrix of output {answer.name!r} would hold {count} numbers", "Use kl."
                raise UsageError(
                    "the loss wt cannot be used", where="option loss", why=why, hint=hint, code="USAGE-LOSS"
                )
            self.matrices[answer.name] = _start(answer, samples)

    def one(self, compared: Answer, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The divergence of classes from their targets, the squared error of values."""
        mine, theirs = _logits_of_both(compared, student, teacher)
        target = self.matrices[compared.name](theirs, compared.axis)
        if compared.classes:
            return divergence(mine, target, compared.axis, self.temperature)
        return squared_error(mine, target, self.power[compared.name])


def _logits_of_both(answer: Answer, student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not answer.classes:
        return student, teacher
    return logits(student, answer.kind), logits(teacher, answer.teacher_kind)


def _start(answer: Answer, samples: Sequence[Sample]) -> Matrix:
    pairs = [_logits_of_both(answer, s.student[answer.name], s.teacher[answer.name]) for s in samples]
    mine, theirs = (rows(tensors, answer.axis) for tensors in zip(*pairs, strict=True))
    covariance = theirs.T.cov().reshape(theirs.shape[1], -1)
    size = mine.shape[1]
    if size == theirs.shape[1] and not answer.foreign:
        weight, bias = torch.eye(size, dtype=mine.dtype, device=mine.device), torch.zeros_like(mine[0])
    else:
        weight, bias = _fit(mine, theirs, _one_hot(answer, samples, size))
    spread = _spread(weight, covariance)
    return Matrix(torch.nn.Parameter(weight), torch.nn.Parameter(bias), covariance, spread)


def _fit(mine: torch.Tensor, theirs: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """W_T and b from rows of outputs; with labels, from them."""
    wanted = mine if labels is None else labels.to(mine.dtype)
    if float(wanted.std(0).max()) < _SMALL:
        weight = _orthogonal(mine.shape[1], theirs)
        return weight, -(weight @ theirs.mean(0))
    weight = _filled(fitted(theirs, wanted).weight.detach(), _LEAST if labels is None else _CHANCE)
    factor = theirs.std(0).mean() / nnf.linear(theirs, weight).std(0).mean().clamp(min=_SMALL)
    # A student that was never trained varies little about its mean, which therefore is not scaled with the rest.
    mean = wanted.mean(0) * (1 if labels is None else factor)
    return weight * factor, mean - factor * (weight @ theirs.mean(0))


def _filled(weight: torch.Tensor, share: float) -> torch.Tensor:
    """The matrix with its singular values raised to `share` of the largest: nothing that the teacher tells is lost."""
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    return (u * s.clamp(min=share * float(s[0]))) @ v


def _one_hot(answer: Answer, samples: Sequence[Sample], size: int) -> torch.Tensor | None:
    """The labels at the rows' positions; None where there are none, or they are not of the student's classes."""
    if not answer.classes or any(s.labels is None for s in samples):
        return None
    found = torch.cat([s.labels.flatten() for s in samples if s.labels is not None])
    places = sum(s.student[answer.name].numel() // size for s in samples)
    if len(found) != places or int(found.min()) < 0 or int(found.max()) >= size:
        return None
    return rows([nnf.one_hot(found, size)], 1)


def _orthogonal(size: int, theirs: torch.Tensor) -> torch.Tensor:
    """A seeded random [size, teacher's] matrix with orthonormal rows (columns, where it has more rows)."""
    made = torch.empty(size, theirs.shape[1], device="cpu")  # where the generator is
    torch.nn.init.orthogonal_(made, generator=torch.Generator().manual_seed(0))
    return made.to(theirs)


def _spread(weight: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    return ((weight @ covariance) * weight).sum(1).clamp(min=_SMALL**2).sqrt()
