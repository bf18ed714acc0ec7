"""The machine of self-compression, on students that are numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from onnxcompress.distill.self_compress import Gap, Machine, Plan, Stop

PLAN = Plan(target=40.0, cut=20.0, most=0.1, ease=0.2, rewind=0.5, decay=0.5, floor=0.2, gain=0.03)


@dataclass(frozen=True)
class Student:
    """A cost and an error; every answer share equals the error."""

    cost: float
    error: float


@dataclass
class Fake:
    """Training halves the error down to `bottom`; a cut adds `damage`; they take `price` and `cutting`.

    Attributes:
        log: What was asked for, in order.
    """

    bottom: float = 0.01
    damage: float = 0.08
    price: float = 0.0
    cutting: float = 0.0
    smallest: float = 0.0
    log: list[str] = field(default_factory=list)
    spent: float = 0.0

    def gap(self, student: Student) -> Gap:
        return Gap(student.error, student.error)

    def train(self, student: Student, rate: float, *, share: float, repair: bool, last: bool) -> tuple[Student, Gap]:
        assert 0 < share <= self.left()
        self.spent += self.price
        self.log.append(f"train {rate:g}{' repaired' if repair else ''}{' long' if last else ''}")
        error = min(student.error, max(self.bottom, student.error / 2))
        return replace(student, error=error), Gap(error, error)

    def prune(self, student: Student, goal: float) -> Student | None:
        self.spent += self.cutting
        self.log.append(f"prune {goal:g}")
        if student.cost <= self.smallest:
            return None
        return Student(max(goal, self.smallest), student.error + self.damage)

    def cost(self, student: Student) -> float:
        return student.cost

    def left(self) -> float:
        return 1.0 - self.spent


def run(world: Fake, plan: Plan = PLAN, error: float = 0.0):
    return Machine(world, plan, Student(100.0, error)).run()


def test_a_plateau_near_the_teacher_prunes_repairs_and_rewinds_until_the_target():
    world = Fake(bottom=0.04, damage=0.05)
    done = run(world)
    assert done.stop is Stop.TARGET
    assert done.student == Student(40.0, 0.04)
    assert world.log == [
        "prune 80",
        *("train 0.5 repaired", "train 0.5"),  # 0.05 -> 0.04 -> 0.04
        "prune 60",
        *("train 0.25 repaired", "train 0.25", "train 0.25"),  # 0.09 -> 0.045 -> 0.04 -> 0.04
        "prune 40",
        *("train 0.2 repaired long", "train 0.2 long", "train 0.2 long"),  # never under the floor
    ]
    assert [s.cost for s in done.stages] == [100.0, 80.0, 60.0, 40.0]
    assert [s.decays for s in done.stages] == [0, 0, 0, 1]


def test_at_the_target_the_rate_decays_to_its_floor():
    world = Fake()
    done = run(world, replace(PLAN, rewind=1.0, cut=60.0))
    assert world.log[-5:] == [f"train {rate} long" for rate in (1, 1, 1, 0.5, 0.25)]
    assert (done.stop, done.stages[-1].decays) == (Stop.TARGET, 3)


def test_too_far_from_the_teacher_decays_instead_of_pruning_and_the_last_good_student_counts():
    world = Fake(bottom=0.15, damage=0.2)
    done = run(world, replace(PLAN, rewind=1.0))
    assert done.stop is Stop.RATE
    assert done.student == Student(100.0, 0.0), "the student at 80 never came near enough"
    assert [e for e in world.log if e.startswith("prune")] == ["prune 80"]
    assert world.log[-2:] == ["train 0.5", "train 0.25"]


def test_a_student_that_comes_too_far_away_is_trained_before_it_is_cut():
    world = Fake(bottom=0.05)
    run(world, error=0.4)
    first_cut = world.log.index("prune 80")
    assert world.log[0] == "train 1 repaired"
    assert first_cut > 2


def test_no_student_is_accepted_where_none_was_close():
    done = run(Fake(bottom=0.3), error=0.4)
    assert (done.stop, done.student) == (Stop.RATE, None)


def test_the_budget_ends_it_and_is_shared_by_the_stages():
    world = Fake(bottom=0.0, damage=0.08, price=0.05)  # every training halves: a stage ends by its share of the time
    done = run(world)
    assert done.stop is Stop.TARGET
    assert world.spent == pytest.approx(1.0)
    assert [s.cost for s in done.stages] == [100.0, 80.0, 60.0, 40.0]
    trained = [s.trainings for s in done.stages]
    assert trained[0] == 0
    assert trained[3] > 2 * (trained[1] + trained[2]), "the last stage has the time of six"


def test_where_time_is_short_cuts_are_fewer_and_larger_so_that_the_target_is_reached():
    world = Fake(bottom=0.0, damage=0.01, price=0.1, cutting=0.3)
    done = run(world)
    assert [e for e in world.log if e.startswith("prune")] == ["prune 80", "prune 40"], "0.7 left: one more cut at 0.3"
    assert done.stop is Stop.TARGET
    assert done.stages[-1].trainings > 0


def test_a_student_that_a_cut_has_hardly_hurt_is_cut_again_without_training():
    world = Fake(damage=0.015)
    assert run(world).stop is Stop.TARGET
    assert world.log[:3] == ["prune 80", "prune 60", "train 0.25 repaired"]  # 0.015, then 0.03 of 0.1


def test_a_budget_that_is_too_small_leaves_the_last_good_student():
    done = run(Fake(bottom=0.0, damage=0.4, price=0.3))
    assert (done.stop, done.student) == (Stop.BUDGET, Student(80.0, 0.1))


def test_what_cannot_be_cut_further_ends_it():
    world = Fake(smallest=70.0, damage=0.02)
    done = run(world)
    assert done.stop is Stop.EXHAUSTED
    assert done.student is not None
    assert done.student.cost == 70.0


@pytest.mark.parametrize("start", [40.0, 30.0])
def test_at_the_target_already_it_only_trains(start: float) -> None:
    world = Fake()
    done = Machine(world, PLAN, Student(start, 0.05)).run()
    assert done.stop is Stop.TARGET
    assert not [e for e in world.log if e.startswith("prune")]
