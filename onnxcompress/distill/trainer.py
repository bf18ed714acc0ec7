"""The training loop: one cycle of steps, measured on the way, the best weights kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from onnxcompress.distill.batches import Batches, Run
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.checkpoint import Checkpoint
from onnxcompress.distill.course import Course, Habits, Training, copies, put_back
from onnxcompress.distill.distributed import World
from onnxcompress.distill.losses.base import Sample
from onnxcompress.distill.measure import Closeness, Examiner
from onnxcompress.distill.objective import Objective
from onnxcompress.distill.optimization import Chosen, Stepper
from onnxcompress.distill.revive import Revival
from onnxcompress.distill.schedule import Pace, one_cycle
from onnxcompress.distill.teacher import Teacher
from onnxcompress.errors import ModelError

# Seconds after which a run is saved again.
_SAVED_EVERY = 30.0

Told = Callable[[Training, int], None]


class Follower(Protocol):
    """Something that learns from what student and teacher made of a step's runs."""

    def follow(self, seen: Iterable[tuple[Run, Sample]], rate: float) -> None:
        """One step of its own after one of the student at `rate`."""
        ...

    def state(self) -> dict[str, Any]:
        """What a later run needs to go on."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        ...


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
        revival: Batch normalizations for the time of training.
        follower: Learns along after each step.
    """

    bridge: Bridge
    teacher: Teacher
    objective: Objective
    batches: Batches
    chosen: Chosen
    habits: Habits = field(default_factory=Habits)
    world: World = field(default_factory=World)
    revival: Revival | None = None
    follower: Follower | None = None

    def __post_init__(self) -> None:
        self.world.follow_first(self.bridge.parameters)

    def train(
        self, pace: Pace, rate: float, guide: Examiner, told: Told | None = None, keeper: Checkpoint | None = None
    ) -> Training:
        """Train at peak rate `rate` until `pace` is over, and leave the best weights in the bridge.

        Args:
            pace: How long.
            rate: Peak learning rate.
            guide: Measures ten times on the way.
            told: Called after every step with what was done and the steps that there will be.
            keeper: Where the run is saved; what is there is gone on with, at its own pace and rate.
        """
        course = Course(self._tensors(), lambda: self.world.agree(guide.measure(self.bridge)), self.habits)
        drive = _Drive(self, course, pace, rate, keeper)
        course.training.sparse = drive.stepper.sparse
        while not course.over and drive.step():
            if told is not None:
                told(course.training, drive.expected())
        course.end()
        return course.training

    def loss_after(self, pace: Pace, rate: float, probe: list[Run]) -> float:
        """The objective on `probe` after one short cycle; the weights are put back."""
        before = copies(self._tensors())
        drive = _Drive(self, Course(self._tensors(), lambda: Closeness(None, 0.0), Habits()), pace, rate)
        while drive.step():
            pass
        value = self.probe_loss(probe)
        put_back(self._tensors(), before)
        return value

    def probe_loss(self, probe: list[Run]) -> float:
        """The objective on some runs, without training."""
        with torch.no_grad():
            value = sum(run.share * float(self.objective.value(self._sample(run))) for run in probe)
        return self.world.agree(value)

    def set_units(self, probe: list[Run]) -> dict[str, float]:
        """Count every term in units of its present value on `probe`; the values."""
        totals: dict[str, float] = {}
        with torch.no_grad():
            samples: Iterable[Sample] = (self._sample(run) for run in probe)
            if self.objective.fits:  # else one run's tensors at a time are enough
                samples = list(samples)
                self.objective.prepare(samples)
                self.world.follow_first(self.objective.parameters())
            for run, sample in zip(probe, samples, strict=True):
                for name, value in self.objective.terms(sample).items():
                    totals[name] = totals.get(name, 0.0) + run.share * float(value)
        self.objective.first.update(totals)
        return totals

    def new_stepper(self) -> Stepper:
        """An optimizer without a past."""
        learned = self.objective.parameters()
        return Stepper(self.chosen, learned, name=self.habits.optimizer, world=self.world)

    def step(self, stepper: Stepper, runs: list[Run], rate: float, training: Training) -> bool:
        """One step on `runs`; False where a gradient was not finite."""
        losses, seen = list[torch.Tensor](), list[tuple[Run, Sample]]()

        def backward() -> None:
            for run in runs:
                sample = self._sample(run, step=True)
                loss = self.objective.value(sample) * run.share
                if loss.requires_grad:
                    loss.backward()
                losses.append(loss.detach())
                seen.extend([(run, sample)] if self.follower is not None else [])

        fine = stepper.step(backward, rate)
        if losses and not stepper.reached and not training.steps:
            raise _no_gradient()
        self._agree_on_statistics()
        if fine and self.follower is not None:
            self.follower.follow(seen, rate)
        training.steps += 1
        training.loss = float(torch.stack(losses).sum()) / sum(r.share for r in runs) if losses else training.loss
        if not fine:
            training.skipped, training.culprit = training.skipped + 1, training.culprit or stepper.culprit
        return fine

    def _tensors(self) -> list[torch.Tensor]:
        """All that training moves."""
        revived = [] if self.revival is None else self.revival.tensors
        return [*self.bridge.parameters, *self.objective.parameters(), *revived]

    def _sample(self, run: Run, *, step: bool = False) -> Sample:
        """What both make of a run; in a training step batch normalization may use and follow the batch."""
        follow = step and self.habits.follow
        module = self.bridge.specialise(run.feeds, self.objective.names, training=follow, live=step)
        mine, theirs = module.run(run.feeds), self.teacher.tensors(run.feeds)
        return Sample(run.real(mine), run.real(theirs), run.labels)

    def _agree_on_statistics(self) -> None:
        """Statistics that follow the batches are alike in all processes whenever they are measured."""
        if self.habits.follow:
            pairs = zip(self.bridge.weights, self.bridge.parameters, strict=True)
            self.world.average(t for w, t in pairs if w.role == "state")
        if self.revival is not None:
            self.world.average(self.revival.statistics)


def _no_gradient() -> ModelError:
    why = "no gradient comes from the loss to a weight that may move"
    hint = "Compare a tensor before the operator that gives integers (--until), or let other weights move (--only)."
    return ModelError("cannot distill", why=why, hint=hint, code="MODEL-NO-WEIGHTS")


class _Drive:
    """Takes the steps of a run, and saves it.

    Args:
        trainer: Whose steps.
        course: The run.
        pace: How long.
        rate: Peak learning rate.
        keeper: Where it is saved.
    """

    def __init__(
        self, trainer: Trainer, course: Course, pace: Pace, rate: float, keeper: Checkpoint | None = None
    ) -> None:
        self._trainer, self._course, self._pace, self._rate = trainer, course, pace, rate
        self.stepper, self._keeper = trainer.new_stepper(), keeper
        self._before = 0.0
        state = None if keeper is None else keeper.load()
        if keeper is not None and state is not None:
            with keeper.reading():
                self._load(state)
        self._began = self._saved = time.perf_counter()
        self._batches = trainer.batches.starting(course.training.steps)
        if state is None:
            self._save()

    def step(self) -> bool:
        """One step; False where the run is over."""
        training, done = self._course.training, self._pace.done(self._course.training.steps + 0.5, self._seconds())
        if self._pace.done(training.steps, self._seconds()) >= 1.0:
            return False
        fine = self._trainer.step(self.stepper, next(self._batches), self._rate * one_cycle(done), training)
        measured = self._course.after_step(self._pace.done(training.steps, self._seconds()), fine=fine)
        if measured or self._is_time():
            self._save()
        return True

    def _is_time(self) -> bool:
        """By the first process's clock: saving is an exchange that all take part in."""
        if self._keeper is None:
            return False
        return self._trainer.world.agree(time.perf_counter() - self._saved > _SAVED_EVERY)

    def expected(self) -> int:
        """How many steps there will be, as it looks now."""
        return self._pace.total(self._course.training.steps, self._seconds())

    def _seconds(self) -> float:
        """Time spent on this run, alike for all processes."""
        if self._pace.seconds is None:
            return 0.0
        return self._trainer.world.agree(self._before + time.perf_counter() - self._began)

    def _save(self) -> None:
        self._saved = time.perf_counter()
        if self._keeper is None:
            return
        state = {
            "course": self._course.state(), "stepper": self.stepper.state(), "seconds": self._seconds(),
            "pace": [self._pace.steps, self._pace.seconds], "rate": self._rate, "first": self._trainer.objective.first,
        }  # fmt: skip
        if self._trainer.follower is not None:
            state["follower"] = self._trainer.follower.state()
        self._keeper.save(state, self._course.training.curve)

    def _load(self, state: dict[str, Any]) -> None:
        self._course.load(state["course"])
        self.stepper.load(state["stepper"])
        steps, seconds = state["pace"]
        if not (steps or seconds):
            raise ValueError("a pace without an end")
        self._before, self._pace, self._rate = float(state["seconds"]), Pace(steps, seconds), state["rate"]
        self._trainer.objective.first.update(state["first"])
        if self._trainer.follower is not None:
            self._trainer.follower.load(state["follower"])


def snapshot(bridge: Bridge) -> list[torch.Tensor]:
    """Copies of the bridge's tensors."""
    return copies(bridge.parameters)


def restore(bridge: Bridge, saved: Sequence[torch.Tensor]) -> None:
    """Put copies back."""
    put_back(bridge.parameters, saved)
