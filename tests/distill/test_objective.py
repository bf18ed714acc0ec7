"""The sum of the terms: their units, their weights, and what they learn along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch

from onnxcompress.distill.comparison import Comparison
from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.objective import Objective, build
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.taps import Tap

PAIR = Comparison((Answer("y", "logits", 1),), (Tap("f"),), {"y": 2.0, "f": 4.0})


@dataclass
class Learned(Term):
    """A term with a parameter of its own, in units of its own."""

    name: ClassVar[str] = "learned"
    relative: ClassVar[bool] = False
    weight: torch.nn.Parameter = field(default_factory=lambda: torch.nn.Parameter(torch.ones(1)))

    @property
    def tensors(self) -> tuple[str, ...]:
        return ("f",)

    def value(self, sample: Sample) -> torch.Tensor:
        return (sample.student["f"] * self.weight).mean()

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.weight]


def test_a_term_that_starts_at_nothing_does_not_drown_the_others() -> None:
    objective = build({"hints": 0.8, "kl": 0.2}, PAIR)
    objective.first.update({"hints": 1e-13, "kl": 0.2})
    far = Sample({"y": torch.ones(2, 2), "f": torch.full((2, 2), 0.01)}, {"y": torch.eye(2), "f": torch.zeros(2, 2)})
    assert float(objective.value(far)) < 1.0


def sample() -> Sample:
    torch.manual_seed(0)
    student, teacher = ({"y": torch.randn(6, 3), "f": torch.randn(6, 5)} for _ in range(2))
    return Sample(student, teacher, torch.arange(6) % 3)


def test_the_terms_are_their_formulas():
    given = sample()
    made = build({"hints": 1.0, "mse": 1.0, "kl": 1.0, "ce": 1.0}, PAIR, temperature=2.0).terms(given)
    y, t = given.student["y"], given.teacher["y"]
    p = torch.softmax(t / 2, 1)
    torch.testing.assert_close(made["hints"], (given.student["f"] - given.teacher["f"]).square().mean() / 4)
    torch.testing.assert_close(made["mse"], (y - t).square().mean() / 2)
    torch.testing.assert_close(made["kl"], 4 * (p * (p.log() - torch.log_softmax(y / 2, 1))).sum(1).mean())
    torch.testing.assert_close(made["ce"], -torch.log_softmax(y, 1)[range(6), [0, 1, 2, 0, 1, 2]].mean())


def test_each_term_counts_in_units_of_its_first_value():
    objective = build({"hints": 0.8, "kl": 0.2}, PAIR)
    objective.first.update({n: float(v) for n, v in objective.terms(sample()).items()})
    assert float(objective.value(sample()).detach()) == pytest.approx(1.0)


def test_a_term_with_a_unit_of_its_own_is_not_divided():
    term = Learned()
    objective = Objective((term,), {"learned": 0.5}, first={"learned": 100.0})
    assert float(objective.value(sample()).detach()) == pytest.approx(float(sample().student["f"].mean()) / 2, rel=1e-5)
    assert objective.parameters() == [term.weight]


def test_only_the_tensors_of_the_terms_are_asked_for():
    assert build({"kl": 1.0}, PAIR).names == ("y",)
    assert build({"hints": 1.0}, PAIR).names == ("y", "f")
