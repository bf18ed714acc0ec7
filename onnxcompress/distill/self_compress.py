"""Self-compression: the learning rate decides when a student gives up a little more of itself.

    train -> plateau -> close enough to the teacher?  yes: prune a little more, repair, rewind the rate, train
                                                      no:  decay the rate, train

A student that its cut has hardly hurt has nothing to learn yet, and is cut again at once. At the target cost the
trainings are long. It ends there once the rate has decayed, or where the rate falls under its floor while the student
is too far from its teacher, or where the budget is used up, or where nothing more may be cut. What counts is the last
student that was close enough.

Prior: cuts in small steps between trainings (Zhu and Gupta 2017, arXiv 1710.01878); rewinding of the learning rate
after each (Renda et al. 2020, arXiv 2003.02389).

The machine knows neither graphs nor torch: a `World` trains and prunes, and a student may be anything.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

S = TypeVar("S")
# The stage at the target cost gets as much of the budget as so many of those before it.
_LAST = 6


@dataclass(frozen=True)
class Gap:
    """How far a student is from its teacher, on samples that train nothing.

    Attributes:
        share: Of answers that differ from the teacher's; the relative error where answers are no classes.
        error: The finer figure that tells a plateau: KL, or the relative error.
    """

    share: float
    error: float


class World(Protocol[S]):
    """What the machine asks for. No method edits the student that it is given."""

    def gap(self, student: S) -> Gap:
        """The gap of a student as it is."""
        ...

    def train(self, student: S, rate: float, *, share: float, repair: bool, last: bool) -> tuple[S, Gap]:
        """The student after one training at peak `rate` times the first rate; never farther from the teacher.

        Args:
            student: The student.
            rate: Factor on the first rate.
            share: Part of the budget that it may take.
            repair: Give layers the teacher's mean and spread back first.
            last: The student is at the target cost: a long training.
        """
        ...

    def prune(self, student: S, goal: float) -> S | None:
        """The student cut to cost `goal`, checked; None where nothing more may go."""
        ...

    def cost(self, student: S) -> float:
        """Multiply-accumulates or parameters."""
        ...

    def left(self) -> float:
        """The part of the budget that is left, from 1 to 0; always 1 without a budget."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is to be reached, and how.

    Attributes:
        target: Cost to come to.
        cut: Cost taken off by one pruning.
        most: Largest share of answers that may differ.
        ease: Part of `most` within which a student that was just cut is cut again without training.
        rewind: The rate after a pruning, as a factor on the one that its stage before began with.
        decay: Factor on the rate at a plateau that may not be pruned.
        floor: Smallest rate, as a factor on the first.
        gain: Relative fall of the error below which training stands still.
    """

    target: float
    cut: float
    most: float
    ease: float = 0.25
    rewind: float = 0.9
    decay: float = 0.4
    floor: float = 0.1
    gain: float = 0.03


class Stop(enum.StrEnum):
    """Why it ended."""

    TARGET = "target"  # at the target cost and close enough, and the rate has decayed or the time is over
    RATE = "rate"  # too far from the teacher, and the rate is at its floor
    BUDGET = "budget"  # no time is left, and the target is not reached
    EXHAUSTED = "exhausted"  # nothing more may be cut


@dataclass
class Stage:
    """One student width: from one pruning to the next.

    Attributes:
        cost: Of its student.
        rate: Rate that it began with.
        trainings: Short trainings so far.
        decays: How often the rate was decayed.
        gap: At its end so far.
    """

    cost: float
    rate: float
    gap: Gap
    trainings: int = 0
    decays: int = 0


@dataclass
class Outcome(Generic[S]):
    """What came of it.

    Attributes:
        stop: Why it ended.
        student: The last that was close enough; None where none was.
        stages: In order; the first is that of the student as it came.
    """

    stop: Stop
    student: S | None
    stages: list[Stage] = field(default_factory=list[Stage])


class Machine(Generic[S]):
    """Drives one self-compression.

    Args:
        world: Trains and prunes.
        plan: What is to be reached.
        student: Where it starts.
    """

    def __init__(self, world: World[S], plan: Plan, student: S) -> None:
        self._world, self._plan = world, plan
        self._student, self._accepted = student, None
        self._rate, self._repair = 1.0, True
        self._stages: list[Stage] = []
        # Where the stage's part of the budget ends, and what the last cut took of it.
        self._until, self._price = 0.0, 0.0

    def run(self) -> Outcome[S]:
        """Go on until a stop."""
        self._enter(1.0, self._world.gap(self._student))
        while (stop := self._step()) is None:
            pass
        return Outcome(stop, self._accepted, self._stages)

    def _step(self) -> Stop | None:
        """Prune, train or decay; the stop where this was the last step."""
        if self._world.left() <= 0:
            return self._reached or Stop.BUDGET
        stage, easy = self._stages[-1], self._plan.ease * self._plan.most
        unhurt = not stage.trainings and stage.gap.share <= easy and not self._there
        if not unhurt and self._trained_on():
            return None
        if self._close and not self._there:
            return self._prune()
        return self._decay()

    def _trained_on(self) -> bool:
        """Train once; True where more of it is due: it helps, and the stage has time left or cannot be left yet."""
        stage = self._stages[-1]
        before, left, there = stage.gap.error, self._world.left(), self._there
        share = left - self._until if left > self._until else left
        self._student, stage.gap = self._world.train(
            self._student, self._rate, share=share, repair=self._repair, last=there
        )
        self._repair, stage.trainings = False, stage.trainings + 1
        self._accept()
        helped = stage.gap.error < before * (1 - self._plan.gain)
        return helped and (self._world.left() > self._until or not self._close)

    def _prune(self) -> Stop | None:
        stage, plan, before = self._stages[-1], self._plan, self._world.left()
        smaller = self._world.prune(self._student, max(plan.target, stage.cost - self._cut(stage.cost)))
        if smaller is None:
            return Stop.EXHAUSTED
        self._student = smaller
        self._rate, self._repair = max(plan.floor, stage.rate * plan.rewind), True
        gap = self._world.gap(smaller)
        self._price = before - self._world.left()
        self._enter(self._rate, gap)
        return None

    def _cut(self, cost: float) -> float:
        """What is taken off: the plan's part, more where time for so many cuts is short: half of it is for training."""
        if not self._price:
            return self._plan.cut
        affordable = max(1, int(self._world.left() / 2 / self._price))
        return max(self._plan.cut, (cost - self._plan.target) / affordable)

    def _decay(self) -> Stop | None:
        self._rate *= self._plan.decay
        self._stages[-1].decays += 1
        if self._rate >= self._plan.floor:
            return None
        return self._reached or Stop.RATE

    def _enter(self, rate: float, gap: Gap) -> None:
        """Begin a stage; what the cuts to come leave of the time is shared evenly by the stages to come."""
        cost, left = self._world.cost(self._student), self._world.left()
        self._stages.append(Stage(cost, rate, gap))
        to_come = math.ceil(max(0.0, cost - self._plan.target) / self._plan.cut)
        spare = max(0.0, left - to_come * self._price)
        self._until = left - spare / (to_come + _LAST) if to_come else 0.0
        self._accept()

    def _accept(self) -> None:
        if self._close:
            self._accepted = self._student

    @property
    def _reached(self) -> Stop | None:
        return Stop.TARGET if self._there and self._close else None

    @property
    def _close(self) -> bool:
        return self._stages[-1].gap.share <= self._plan.most

    @property
    def _there(self) -> bool:
        return self._stages[-1].cost <= self._plan.target
