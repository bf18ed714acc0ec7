"""Outputs of detectors before non-maximum suppression: scores as probabilities, boxes where the teacher sees something.

Sigmoid scores are compared by binary cross-entropy, boxes by smooth L1 (Girshick 2015, 1504.08083) weighted by the
teacher's score, so that the many empty places do not drown the few full ones. After suppression nothing could be
compared place by place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.losses.soft import soft_targets
from onnxcompress.distill.outputs import Answer

_EDGE = 1e-6
_RANKS = (3, 4)
# Numbers of a box.
_BOX = 4


@dataclass(frozen=True)
class Part:
    """Some columns of one output.

    Attributes:
        answer: The output.
        axis: The axis of the columns; the others are batch and places.
        columns: Which of them.
        kind: ``scores`` (sigmoid), ``classes`` (softmax) or ``boxes``.
        scale: Size of a box's numbers: the teacher's root mean square.
        background: Of classes, the column that says that nothing is there.
        presence: Of boxes, the teacher's mean score at their places.
    """

    answer: Answer
    axis: int
    columns: tuple[int, ...]
    kind: str
    scale: float = 1.0
    background: int = 0
    presence: float = 1.0

    def of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The columns, last axis, of places [batch, place, column]."""
        moved = tensors[self.answer.name].movedim(self.axis, -1)
        return moved[..., list(self.columns)].flatten(1, -2)


@dataclass(frozen=True)
class Detection(Term):
    """Mean over score parts of BCE(s, t) - BCE(t, t), and over box parts of mean w smoothL1((s - t)/r) / m.

    t are probabilities, so BCE(sigmoid(z_s), sigmoid(z_t)) has the gradient s - t in the logit z_s; what it cannot go
    below is taken off. w is the largest score of the teacher at that place (of several outputs their product), m its
    mean over some samples, so that parts of a batch add up to the whole, r the root mean square of its boxes.

    Attributes:
        parts: The columns of all outputs.
    """

    name: ClassVar[str] = "det"
    parts: tuple[Part, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The outputs."""
        return tuple(dict.fromkeys(p.answer.name for p in self.parts))

    def value(self, sample: Sample) -> torch.Tensor:
        """The sum of both means."""
        scores = [self._score(p, sample) for p in self.parts if p.kind != "boxes"]
        boxes = [self._box(p, sample) for p in self.parts if p.kind == "boxes"]
        means = [torch.stack(values).mean() for values in (scores, boxes) if values]
        return torch.stack(means).sum()

    def _score(self, part: Part, sample: Sample) -> torch.Tensor:
        if part.kind == "classes":
            return soft_targets(sample.student[part.answer.name], sample.teacher[part.answer.name], part.answer, 1.0)
        mine, theirs = (part.of(t).clamp(_EDGE, 1 - _EDGE) for t in (sample.student, sample.teacher))
        return nnf.binary_cross_entropy(mine, theirs) - nnf.binary_cross_entropy(theirs, theirs)

    def _box(self, part: Part, sample: Sample) -> torch.Tensor:
        mine, theirs = part.of(sample.student), part.of(sample.teacher)
        error = nnf.smooth_l1_loss(mine / part.scale, theirs / part.scale, reduction="none").mean(-1)
        return (self.weight(theirs, sample.teacher) * error).mean() / part.presence

    def weight(self, boxes: torch.Tensor, teacher: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The teacher's score at each place of `boxes`."""
        weight = torch.ones_like(boxes[..., 0])
        for part in (p for p in self.parts if p.kind != "boxes"):
            score = _presence(part, teacher)
            weight = weight * score if score.shape == weight.shape else weight
        return weight


def _presence(part: Part, teacher: Mapping[str, torch.Tensor]) -> torch.Tensor:
    found = part.of(teacher)
    if part.kind == "scores":
        return found.amax(-1)
    chances = found.softmax(-1) if part.answer.teacher_kind == "logits" else found
    return 1 - chances[..., part.background]


def find_parts(answers: Sequence[Answer], arrays: Mapping[str, np.ndarray]) -> tuple[Part, ...]:
    """The parts of a detector's outputs, by the teacher's numbers; none where no column holds scores.

    Columns between 0 and 1 in all samples are scores, where what is left can be a box or nothing. The background of
    softmax classes is the likeliest of them.
    """
    parts = tuple(p for a in answers for p in _parts(a, arrays[a.name]))
    if not any(p.kind != "boxes" for p in parts):
        return ()
    teacher = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
    return tuple(p if p.kind != "boxes" else _with_presence(p, Detection(parts), teacher) for p in parts)


def _with_presence(part: Part, loss: Detection, teacher: Mapping[str, torch.Tensor]) -> Part:
    mean = float(loss.weight(part.of(teacher), teacher).mean())
    return replace(part, presence=max(mean, _EDGE))


def _parts(answer: Answer, array: np.ndarray) -> Iterator[Part]:
    if array.ndim not in _RANKS:
        return
    if answer.classes:
        yield _classes(answer, array)
        return
    # Columns are fewer than places; of maps they are the channels.
    axis = 1 if array.ndim == _RANKS[1] or array.shape[1] < array.shape[2] else 2
    columns = np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]).astype(np.float64)
    inside = (columns.min(0) >= 0) & (columns.max(0) <= 1)
    if (~inside).sum() < _BOX and not inside.all():
        # A side of a box may lie between 0 and 1 by chance.
        inside = np.zeros_like(inside)
    for kind, chosen in (("scores", np.flatnonzero(inside)), ("boxes", np.flatnonzero(~inside))):
        if len(chosen):
            scale = max(float(np.sqrt(np.mean(np.square(columns[:, chosen])))), 1e-6)
            yield Part(answer, axis, tuple(int(i) for i in chosen), kind, scale)


def _classes(answer: Answer, array: np.ndarray) -> Part:
    numbers = np.moveaxis(array, answer.axis, -1).astype(np.float64)
    if answer.teacher_kind == "logits":
        numbers = np.exp(numbers - numbers.max(-1, keepdims=True))
        numbers /= numbers.sum(-1, keepdims=True)
    likeliest = int(numbers.reshape(-1, numbers.shape[-1]).mean(0).argmax())
    return Part(answer, answer.axis, tuple(range(numbers.shape[-1])), "classes", background=likeliest)
