from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.passes.quantization.scales import activation_grid
from onnxcompress.passes.quantization.sensitivity.choice import choose
from onnxcompress.passes.quantization.sensitivity.error import Reference
from onnxcompress.passes.quantization.sensitivity.ranking import rank
from onnxcompress.passes.quantization.sensitivity.stage import _range_finding

COSTS = {f"t{i}": 1e-4 for i in range(100)} | {"t37": 0.5, "t38": 0.1, "t91": 0.02}
NOISE = dict.fromkeys(COSTS, 1e-3)


def _counted(calls: list[int]):
    def error(names) -> float:
        calls.append(len(names))
        return sum(COSTS[name] for name in names)

    return error


def test_few_tensors_are_tried_one_by_one() -> None:
    calls: list[int] = []
    names = list(COSTS)[:8]
    assert rank(names, _counted(calls), NOISE, 8) == {name: COSTS[name] for name in names} and calls == [1] * 8


@pytest.mark.parametrize("evaluations", [30, 48, 99])
def test_many_tensors_are_halved_down_to_those_that_cost_most(evaluations: int) -> None:
    calls: list[int] = []
    found = rank(list(COSTS), _counted(calls), NOISE, evaluations)
    worst = sorted(found, key=found.__getitem__, reverse=True)
    assert len(calls) <= evaluations and list(found) == list(COSTS)
    assert worst[:3] == ["t37", "t38", "t91"] and found["t37"] == pytest.approx(0.5)
    assert sum(found.values()) == pytest.approx(sum(COSTS.values()))


def test_an_unresolved_group_is_shared_by_the_noise_of_its_members() -> None:
    found = rank(["a", "b", "c", "d"], lambda names: 1.0, {"a": 3.0, "b": 1.0, "c": 0.0, "d": 0.0}, 3)
    assert found["a"] == pytest.approx(3 * found["b"]) or found["c"] == found["d"]


def test_another_rule_stays_only_where_the_outputs_gain() -> None:
    grid = activation_grid(0.0, 1.0)
    offers = {"kl": dict.fromkeys("abc", grid), "uniform": dict.fromkeys("abc", grid)}
    trials = {"kl": {"a": 0.1, "b": 0.29, "c": 0.0}, "uniform": {"a": 0.2, "b": 0.4, "c": 0.0}}
    asked: list[tuple[str, int]] = []

    def trial(name: str, _: object) -> float:
        rule = ("kl", "uniform")[sum(n == name for n, _ in asked)]
        asked.append((name, 1))
        return trials[rule][name]

    found = choose({"a": 1.0, "b": 0.3, "c": 0.001}, offers, trial, 10)
    assert found == {"a": ("kl", 0.1)}
    assert len(asked) == 4  # c costs too little to be looked at


def test_no_more_trials_than_allowed() -> None:
    grid = activation_grid(0.0, 1.0)
    asked: list[str] = []
    offers = {rule: dict.fromkeys("ab", grid) for rule in ("kl", "uniform")}
    choose({"a": 1.0, "b": 1.0}, offers, lambda name, _: asked.append(name) or 0.0, 3)
    assert asked == ["a", "a"]


def test_what_is_the_same_for_every_sample_does_not_hide_an_error() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(32, 4))
    noise = rng.normal(size=y.shape) * 0.1
    plain, shifted = (Reference([[y + c]], [32]).error([[y + c + noise]]) for c in (0.0, 30.0))
    assert plain == pytest.approx(shifted) and plain == pytest.approx(0.01, rel=0.4)


def test_one_sample_or_a_constant_output_counts_by_its_energy() -> None:
    y = np.full((5, 3), 2.0)
    assert Reference([[y]], [5]).error([[y * 1.1]]) == pytest.approx(0.01)
    assert Reference([[y[:1]]], [1]).error([[y[:1] * 1.1]]) == pytest.approx(0.01)
    assert Reference([[y]], [5]).error([[y * np.nan]]) == np.inf


def test_agreement_counts_classes_over_all_runs() -> None:
    runs = [[np.eye(3)], [np.eye(3)[:1]]]
    other = [[np.eye(3)], [np.eye(3)[1:2]]]
    assert Reference(runs, [3, 1]).agreement(other) == 0.75


def test_one_sample_that_jumps_does_not_outweigh_the_others() -> None:
    y = np.random.default_rng(1).normal(size=(25, 8))
    jumps, drifts = y.copy(), y + 0.3
    jumps[3] += 3.0
    found = [Reference([[y]], [25]).error([[other]]) for other in (jumps, drifts)]
    assert found[0] < found[1] / 4


def test_a_change_too_small_to_show_is_told_without_a_comparison() -> None:
    assert _range_finding("t", "kl", 4.1e-6, 4e-6).message.endswith("changes the outputs by 0.2 %")
    assert _range_finding("t", "kl", 9e-6, 4e-6).message.endswith("changes the outputs by 0.2 %, not 0.3 %")
