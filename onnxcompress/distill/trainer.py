"""The training loop: one cycle of steps, measured on the way, the best weights kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from onnxcompress.distill.batches import Batches, Run
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distributed import World
from onnxcompress.distill.losses.base import Sample
from onnxcompress.distill.measure import Closeness, Examiner
from onnxcompress.distill.objective import Objective
from onnxcompress.distill.optimization import Average, Chosen, Stepper
from onnxcompress.distill.schedule import Pace, one_cycle
from onnxcompress.distill.teacher import Teacher

# Measurements in one run.
EVALUATIONS = 10
# Steps that may fail in a row before training gives up.
_FAILURES = 10


@dataclass
class Training:
    """What one training run did.

    Attributes:
        best: Closeness of the weights that were kept.
        steps: Steps taken.
        skipped: Steps left out because a gradient was not finite.
        culprit: Name of the last weight whose gradient was not finite.
        stop: Why it ended: ``done``, ``close``, ``plateau`` or ``not finite``.
        loss: The objective at the last step, 1 at the start.
        curve: (step, loss, agreement or -1, error) at every measurement.
        sparse: Weight tensors whose zeros were kept.
    """

    best: Closeness
    steps: int = 0
    skipped: int = 0
    culprit: str = ""
    stop: str = "done"
    loss: float = 1.0
    curve: list[tuple[int, float, float, float]] = field(default_factory=list[tuple[int, float, float, float]])
    sparse: int = 0


@dataclass(frozen=True)
class Habits:
    """How training is done, apart from pace and rate.

    Attributes:
        follow: Batch normalization follows the batches' statistics.
        optimizer: ``adamw`` or ``sgd``.
        ema: Decay of the averaged weights that are measured and kept; 0 for the weights themselves.
        patience: Measurements without a gain after which training stops; 0 for never.
        close: Share of equal classes at which training stops.
    """

    follow: bool = False
    optimizer: str = "adamw"
    ema: float = 0.0
    patience: int = 0
    close: float = 1.0


Told = Callable[[Training, int], None]


@dataclass
class Trainer:
    """Trains one bridge.

    Attributes:
        bridge: The student.
        teacher: Gives the objective's tensors.
        objective: What is made small.
        batches: Where samples come from.
        chosen: The weights that move.
        habits: How.
        world: The processes that train together.
    """

    bridge: Bridge
    teacher: Teacher
    objective: Objective
    batches: Batches
    chosen: Chosen
    habits: Habits = field(default_factory=Habits)
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.world.follow_first(self.bridge.parameters)

    def train(self, pace: Pace, rate: float, guide: Examiner, told: Told | None = None) -> Training:
        """Train at peak rate `rate` until `pace` is over, and leave the best weights in the bridge.

        Args:
            pace: How long.
            rate: Peak learning rate.
            guide: Measures ten times on the way.
            told: Called after every step with what was done and the steps that there will be.
        """
        began = time.perf_counter()
        course = _Course(self, guide)
        stepper, batches = self._stepper(), iter(self.batches)
        course.training.sparse, failed = stepper.sparse, 0
        while not course.over:
            steps = course.training.steps
            seconds = self.world.agree(time.perf_counter() - began)
            done = pace.done(steps + 0.5, seconds)
            if pace.done(steps, seconds) >= 1.0:
                break
            fine = self._step(stepper, next(batches), rate * one_cycle(done), course.training)
            failed = 0 if fine else failed + 1
            seconds = self.world.agree(time.perf_counter() - began)
            course.after_step(pace.done(steps + 1, seconds), failed)
            if told is not None:
                told(course.training, pace.total(steps + 1, seconds))
        course.end()
        return course.training

    def loss_after(self, pace: Pace, rate: float, probe: list[Run]) -> float:
        """The objective on `probe` after one short cycle; the weights are put back."""
        before, began = self.snapshot(), time.perf_counter()
        stepper, training = self._stepper(), Training(Closeness(None, 0.0))
        for step, runs in enumerate(self.batches):
            seconds = self.world.agree(time.perf_counter() - began)
            if pace.done(step, seconds) >= 1.0:
                break
            self._step(stepper, runs, rate * one_cycle(pace.done(step + 0.5, seconds)), training)
        value = self.probe_loss(probe)
        self.restore(before)
        return value

    def probe_loss(self, probe: list[Run]) -> float:
        """The objective on some runs, without training."""
        with torch.no_grad():
            value = sum(run.share * float(self._loss(run, training=False)) for run in probe)
        return self.world.agree(value)

    def set_units(self, probe: list[Run]) -> dict[str, float]:
        """Count every term in units of its present value on `probe`; the values."""
        totals: dict[str, float] = {}
        with torch.no_grad():
            samples = [self._sample(run, training=False) for run in probe]
            self.objective.prepare(samples)
            self.world.follow_first(self.objective.parameters())
            for run, sample in zip(probe, samples, strict=True):
                for name, value in self.objective.terms(sample).items():
                    totals[name] = totals.get(name, 0.0) + run.share * float(value)
        self.objective.first.update(totals)
        return totals

    def snapshot(self) -> list[torch.Tensor]:
        """Copies of all that training moves."""
        return [*snapshot(self.bridge), *(p.detach().clone() for p in self.objective.parameters())]

    def restore(self, saved: Sequence[torch.Tensor]) -> None:
        """Put copies back."""
        own = len(self.bridge.parameters)
        restore(self.bridge, saved[:own])
        with torch.no_grad():
            for parameter, old in zip(self.objective.parameters(), saved[own:], strict=True):
                parameter.copy_(old)

    def _stepper(self) -> Stepper:
        learned = self.objective.parameters()
        return Stepper(self.chosen, learned, name=self.habits.optimizer, world=self.world)

    def _step(self, stepper: Stepper, runs: list[Run], rate: float, training: Training) -> bool:
        losses: list[torch.Tensor] = []

        def backward() -> None:
            for run in runs:
                loss = self._loss(run, training=self.habits.follow) * run.share
                loss.backward()
                losses.append(loss.detach())

        fine = stepper.step(backward, rate)
        self._agree_on_statistics()
        training.steps += 1
        training.loss = float(torch.stack(losses).sum()) / sum(r.share for r in runs) if losses else training.loss
        if not fine:
            training.skipped, training.culprit = training.skipped + 1, training.culprit or stepper.culprit
        return fine

    def _loss(self, run: Run, *, training: bool) -> torch.Tensor:
        return self.objective.value(self._sample(run, training=training))

    def _sample(self, run: Run, *, training: bool) -> Sample:
        return Sample(self._student(run, training=training), self.teacher.tensors(run.feeds), run.labels)

    def _student(self, run: Run, *, training: bool) -> dict[str, torch.Tensor]:
        module = self.bridge.specialise(run.feeds, self.objective.names, training=training)
        return module.run(run.feeds)

    def _agree_on_statistics(self) -> None:
        """Statistics that follow the batches are alike in all processes whenever they are measured."""
        if self.habits.follow:
            pairs = zip(self.bridge.weights, self.bridge.parameters, strict=True)
            self.world.average(t for w, t in pairs if w.role == "state")


class _Course:
    """One run on its way: when to measure, what was best, when to stop.

    Args:
        trainer: Whose weights are measured and kept.
        guide: Measures them.
    """

    def __init__(self, trainer: Trainer, guide: Examiner) -> None:
        self._trainer, self._guide, self._habits = trainer, guide, trainer.habits
        self.training = Training(trainer.world.agree(guide.measure(trainer.bridge)))
        self._kept = trainer.snapshot()
        self._average = Average(trainer.bridge.parameters, self._habits.ema) if self._habits.ema else None
        self._measured, self._at, self._vain = 0, 0, 0
        self.over = False

    def after_step(self, done: float, failed: int) -> None:
        """Measure where a tenth of the run is over; stop where there is nothing more to win."""
        if self._average is not None:
            self._average.update()
        if int(done * EVALUATIONS) > self._measured:
            self._measured = int(done * EVALUATIONS)
            self._measure()
        if failed >= _FAILURES:
            self._stop("not finite")

    def end(self) -> None:
        """Measure what was not, and leave the best weights."""
        if self._at < self.training.steps and self.training.stop != "not finite":
            self._measure()
        self._trainer.restore(self._kept)

    def _measure(self) -> None:
        training, self._at = self.training, self.training.steps
        if self._average is not None:
            self._average.swap()
        now = self._trainer.world.agree(self._guide.measure(self._trainer.bridge))
        shown = -1.0 if now.agreement is None else now.agreement
        training.curve.append((training.steps, training.loss, shown, now.error))
        better = now.better_than(training.best)
        if better:
            training.best, self._kept = now, self._trainer.snapshot()
        if self._average is not None:
            self._average.swap()
        self._vain = 0 if better else self._vain + 1
        if now.close(self._habits.close):
            self._stop("close")
        elif self._habits.patience and self._vain >= self._habits.patience:
            self._stop("plateau")

    def _stop(self, why: str) -> None:
        self.training.stop, self.over = why, True


def snapshot(bridge: Bridge) -> list[torch.Tensor]:
    """Copies of the bridge's tensors."""
    return [tensor.detach().clone() for tensor in bridge.parameters]


def restore(bridge: Bridge, saved: Sequence[torch.Tensor]) -> None:
    """Put copies back."""
    with torch.no_grad():
        for tensor, old in zip(bridge.parameters, saved, strict=True):
            tensor.copy_(old)
