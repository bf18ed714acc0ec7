"""A teacher that learns along, so that a small student can follow it: off by default.

    L_T = a KL(p_t || p_t0) + b KL(sg p_s || p_t) + c CE(t, y)

p_t0 is the teacher as it came, the anchor; sg p_s the student, held fixed; c is 1 where the
student learns from labels too, else 0.
Mutual learning: Zhang et al. 2018 (arXiv 1706.00384); student-friendly teachers: Park et al. 2021 (arXiv 2102.07650).
Without labels and without the anchor both would drift to agree on anything; past `BOUND` the teacher is frozen as it
is. Only a copy in memory learns: the teacher's model and file stay, and students are judged by the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.distill.batches import Run
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.comparison import Comparison
from onnxcompress.distill.course import copies, put_back
from onnxcompress.distill.distributed import World
from onnxcompress.distill.losses.base import Sample
from onnxcompress.distill.losses.labels import label_error
from onnxcompress.distill.losses.soft import divergence, logits
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.optimization import Stepper
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.settings import Settings
from onnxcompress.distill.teacher import Teacher, cut, in_runs
from onnxcompress.errors import ModelError
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime_options import RuntimeOptions

BOUND = 0.05
"""Nats of KL(p_t || p_t0) that the teacher may drift; of value outputs the relative squared error."""

ANCHOR, PULL = 1.0, 1.0
# Drift is a running mean over the steps: one batch says little.
_MEMORY = 0.9

Seen = tuple[Run, Sample]
"""A run, and what student and teacher made of it."""


class LearningTeacher(Teacher):
    """A teacher whose copy in torch follows the student.

    Args:
        model: The teacher; it is not edited.
        names: Tensors wanted.
        pair: What of student and teacher is compared.
        multiple: Its learning rate, as a factor on the student's.
        optimizer: ``adamw`` or ``sgd``.
        options: How the original runs.
        world: The processes that train together.
        labels: Its loss has labels as well, where the data has them.

    Attributes:
        drift: How far the copy is from the original: KL(p_t || p_t0).
        steps: Steps taken.
        frozen: It has drifted too far and learns no more.

    Raises:
        ModelError: Where a node of the teacher has no torch form, or it has no weights.
    """

    def __init__(
        self,
        model: ir.Model,
        names: Sequence[str],
        pair: Comparison,
        multiple: float,
        optimizer: str = "adamw",
        options: RuntimeOptions | None = None,
        world: World | None = None,
        *,
        labels: bool = True,
    ) -> None:
        super().__init__(model, names, pair.taps, options)
        self._wanted = [n for n in names if n]
        self._answers, self._power, self._multiple = pair.answers, pair.power, multiple
        self._world, self._bridge, self._labels = world or World(), Bridge(model), labels
        self._inputs = {value.name for value in model.graph.inputs}
        chosen = self._bridge.trainable()
        if not chosen:
            hint = "Leave --teacher-lr-mult out."
            raise ModelError("the teacher cannot learn", why="it has no weights", hint=hint, code="MODEL-NO-WEIGHTS")
        self._world.follow_first(self._bridge.parameters)
        self._stepper = Stepper(chosen, name=optimizer, world=self._world)
        self.drift, self.steps, self.frozen = 0.0, 0, False

    def tensors(self, feeds: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """The wanted tensors, as the teacher makes them now."""
        with torch.no_grad():
            return self._made(feeds)

    def follow(self, seen: Iterable[Seen], rate: float) -> None:
        """One step of the teacher, after one of the student at `rate`; nothing once it is frozen."""
        if self.frozen:
            return
        drifts: list[float] = []

        def backward() -> None:
            for run, sample in seen:
                loss, drift = self.loss(run, sample)
                if loss.requires_grad:
                    (loss * run.share).backward()
                drifts.append(drift * run.share)

        self._stepper.step(backward, rate * self._multiple)
        now = sum(drifts) * self._world.size
        self.drift = self._world.agree(now if not self.steps else _MEMORY * self.drift + (1 - _MEMORY) * now)
        self.steps += 1
        self.frozen = self.drift > BOUND

    def state(self) -> dict[str, Any]:
        """What a later run needs to go on."""
        counts = [self.drift, self.steps, self.frozen]
        return {"tensors": copies(self._bridge.parameters), "stepper": self._stepper.state(), "counts": counts}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        put_back(self._bridge.parameters, state["tensors"])
        self._stepper.load(state["stepper"])
        self.drift, self.steps, self.frozen = state["counts"]

    def finding(self) -> Finding:
        """How far it went."""
        numbers: dict[str, float | int | str] = {"drift": self.drift, "steps": self.steps, "rate": self._multiple}
        text = (
            f"the teacher learned along at {self._multiple:g} x the student's rate, and drifted {self.drift:.4f} nats"
        )
        if not self.frozen:
            return Finding("DISTILL-COTRAINED", f"{text}; its file is as it was", numbers=numbers)
        text += f": more than {BOUND:g}, so it was frozen at step {self.steps}; a smaller --teacher-lr-mult drifts less"
        return Finding("DISTILL-COTRAINING-STOPPED", text, severity=Severity.WARNING, numbers=numbers)

    def _made(self, feeds: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        own = {name: array for name, array in feeds.items() if name in self._inputs}
        made = in_runs(
            own, self._fixed(own), lambda part: self._bridge.specialise(part, self._wanted).run(part), torch.cat
        )
        return {n: cut(made[n], self._views.get(n)) for n in self._wanted}

    def loss(self, run: Run, sample: Sample) -> tuple[torch.Tensor, float]:
        """L_T and the drift of one run."""
        mine, first = run.real(self._made(run.feeds)), run.real(self.arrays(run.feeds))
        terms, drifts = list[torch.Tensor](), list[float]()
        for answer in self._answers:
            now = mine[answer.name]
            anchor = self._apart(answer, now, to_torch(first[answer.name]), answer.theirs or answer.kind)
            terms.append(ANCHOR * anchor)
            if not answer.foreign:
                terms.append(PULL * self._pull(answer, now, sample.student[answer.name].detach()))
            drifts.append(float(anchor.detach()))
        loss = torch.stack(terms).sum() / len(self._answers)
        labelled = next((a for a in self._answers if a.classes and not a.foreign), None)
        if self._labels and run.labels is not None and labelled is not None:
            kind = labelled.theirs or labelled.kind
            loss = loss + label_error(mine[labelled.name], run.labels, replace(labelled, kind=kind))
        return loss, float(np.mean(drifts))

    def _apart(self, answer: Answer, now: torch.Tensor, then: torch.Tensor, kind: str) -> torch.Tensor:
        """KL(p_t || p_t0) of classes, the relative squared error of values."""
        if not answer.classes:
            return squared_error(now, then, self._power[answer.name])
        return divergence(logits(then, kind), logits(now, kind), answer.axis, 1.0)

    def _pull(self, answer: Answer, now: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
        """KL(sg p_s || p_t) of classes, the relative squared error of values."""
        if not answer.classes:
            return squared_error(now, student, self._power[answer.name])
        mine, theirs = logits(now, answer.theirs or answer.kind), logits(student, answer.kind)
        return divergence(mine, theirs, answer.axis, 1.0)


def tutor_of(
    model: ir.Model,
    names: Sequence[str],
    pair: Comparison,
    settings: Settings,
    options: RuntimeOptions,
    world: World,
    *,
    labels: bool,
) -> LearningTeacher | None:
    """The teacher that learns along, where that was asked for."""
    if not settings.teacher_rate:
        return None
    rate, optimizer = settings.teacher_rate, settings.optimizer
    return LearningTeacher(model, names, pair, rate, optimizer, options, world, labels=labels)
