"""The training objective: a weighted sum of terms, each in units of its own first value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from onnxcompress.distill.comparison import Comparison
from onnxcompress.distill.losses.attention import Attention
from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.losses.cosine import Cosine
from onnxcompress.distill.losses.detection import Detection
from onnxcompress.distill.losses.entropy import Entropy
from onnxcompress.distill.losses.hints import Hints
from onnxcompress.distill.losses.labels import Labels
from onnxcompress.distill.losses.soft import SoftTargets
from onnxcompress.distill.losses.squares import Squares
from onnxcompress.distill.losses.standard import Standardised
from onnxcompress.distill.losses.transfer import Transfer

# A term that is about zero at the start would outweigh all others at its first move.
_LEAST = 1e-4


@dataclass
class Objective:
    """What training makes small.

    Attributes:
        parts: The terms.
        weights: Weight of each by name.
        answers: Names of the tensors that stand for the outputs; they are measured whatever the terms read.
        first: Value of each term at the start; the unit it is counted in.
    """

    parts: tuple[Term, ...]
    weights: Mapping[str, float]
    answers: tuple[str, ...] = ()
    first: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The student's names of all tensors that the terms need."""
        return tuple(dict.fromkeys([*self.answers, *(n for part in self.parts for n in part.tensors)]))

    def terms(self, sample: Sample) -> dict[str, torch.Tensor]:
        """The raw value of each term."""
        return {part.name: part.value(sample) for part in self.parts}

    def value(self, sample: Sample) -> torch.Tensor:
        """The weighted sum, every relative term divided by its value at the start."""
        values = self.terms(sample)
        return torch.stack([self.weights[p.name] / self._unit(p) * values[p.name] for p in self.parts]).sum()

    def parameters(self) -> list[torch.nn.Parameter]:
        """What the terms learn along with the student; thrown away after training."""
        return [parameter for part in self.parts for parameter in part.parameters()]

    @property
    def fits(self) -> bool:
        """True where `prepare` needs samples."""
        return any(part.fits for part in self.parts)

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Give what the terms learn its start."""
        for part in self.parts:
            part.prepare(samples)

    def _unit(self, part: Term) -> float:
        return max(self.first.get(part.name, 1.0), _LEAST) if part.relative else 1.0


def build(
    weights: Mapping[str, float],
    pair: Comparison,
    temperature: float = 4.0,
    temperatures: Mapping[str, float] | None = None,
    heads: Callable[[], Term] | None = None,
) -> Objective:
    """The objective of a pair.

    Args:
        weights: Weight of each term by name.
        pair: What is compared.
        temperature: T of soft targets.
        temperatures: T of single terms.
        heads: Makes the regularizer of the last layers.
    """
    heat = dict.fromkeys(("kl", "wt"), temperature) | dict(temperatures or {})
    made = _makers(pair, heat) | ({"head-norm": heads} if heads else {})
    return Objective(tuple(made[name]() for name in weights), dict(weights), tuple(a.name for a in pair.answers))


def _makers(pair: Comparison, heat: Mapping[str, float]) -> dict[str, Callable[[], Term]]:
    answers, power = pair.answers, pair.power
    classes = tuple(a for a in answers if a.classes)
    return {
        "hints": lambda: Hints(pair.taps, power),
        "at": lambda: Attention(pair.maps),
        "kl": lambda: SoftTargets(answers, power, heat["kl"]),
        "std": lambda: Standardised(classes, heat.get("std", 2.0)),
        "mse": lambda: Squares(answers, power),
        "cos": lambda: Cosine(answers),
        "wt": lambda: Transfer(answers, power, heat["wt"]),
        "det": lambda: Detection(pair.detections),
        "ce": lambda: Labels(classes[0]),
        "entropy": lambda: Entropy(classes),
    }
