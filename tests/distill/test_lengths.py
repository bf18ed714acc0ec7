"""Samples of many lengths: few recordings, every sample once a round, padding only where a mask allows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import array, model, set_weight

from onnxcompress.data import ArraySource, DataSource, open_data
from onnxcompress.distill.batches import Batches, runs_of
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.lengths import arrange, equal_parts, find_padding
from onnxcompress.distill.settings import Settings
from onnxcompress.graph import clone
from onnxcompress.runtime_options import RuntimeOptions

TAGGER = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, T, 4] x) => (float[N, T, 3] y) { a = MatMul (x, w1)  r = Relu (a)  y = MatMul (r, w2) }"""
MASKED = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, T, 4] x, int64[N, T] attention_mask) => (float[N, 3] y) {
    m = Cast <to = 1> (attention_mask)
    last = Constant <value_ints = [-1]> ()
    one = Constant <value_ints = [1]> ()
    u = Unsqueeze (m, last)
    k = Mul (x, u)
    s = ReduceSum <keepdims = 0> (k, one)
    n = ReduceSum <keepdims = 1> (m, one)
    mean = Div (s, n)
    a = MatMul (mean, w1)
    r = Relu (a)
    y = MatMul (r, w2)
}
"""
LENGTHS = [5, 9, 5, 12, 9, 5, 7, 5] * 6


def net(text: str = TAGGER) -> ir.Model:
    rng = np.random.default_rng(0)
    return model(text, {n: rng.normal(size=s).astype(np.float32) for n, s in {"w1": (4, 16), "w2": (16, 3)}.items()})


def ragged(made: ir.Model, lengths: Sequence[int] = LENGTHS) -> DataSource:
    rng = np.random.default_rng(1)
    samples = [{"x": rng.normal(size=(n, 4)).astype(np.float32)} for n in lengths]
    if any(v.name == "attention_mask" for v in made.graph.inputs):
        samples = [s | {"attention_mask": np.ones(len(s["x"]), np.int64)} for s in samples]
    source = open_data(samples, made)
    assert not source.uniform
    return source


def test_equal_lengths_share_runs_of_1_2_4_samples():
    source = ragged(net())
    parts = list(equal_parts(source, np.arange(48)))
    assert sorted(np.concatenate([rows for rows, _ in parts]).tolist()) == list(range(48))
    for rows, part in parts:
        assert len(rows) in {1, 2, 4, 8, 16}
        assert {LENGTHS[row] for row in rows} == {part.read([0])["x"].shape[1]}
        for place, row in enumerate(rows):
            np.testing.assert_array_equal(part.read([place])["x"], source.read([int(row)])["x"])


def test_a_round_takes_every_sample_once_in_batches_of_neighbours():
    ranks = np.array([1, 0, 1, 0, 2, 0, 1, 0, 2, 2, 1])
    rng = np.random.default_rng(0)
    order = arrange(rng.permutation(11), ranks, 4, rng)
    assert sorted(order.tolist()) == list(range(11))
    assert {tuple(sorted(ranks[order[i : i + 4]])) for i in (0, 4)} == {(0, 0, 0, 0), (1, 1, 1, 1)}


def test_batches_of_all_samples_are_whole_and_mostly_one_length():
    made = net()
    batches = Batches(made, ragged(made), 8, seed=0)
    assert batches.size == 8
    drawn = [runs for runs, _ in zip(batches, range(6), strict=False)]
    assert [sum(run.share for run in runs) for runs in drawn] == pytest.approx([1.0] * 6)
    assert sum(len(runs) for runs in drawn) <= 10


def test_a_batch_larger_than_the_data_takes_all_of_it():
    made = net()
    batches = Batches(made, ragged(made, [3, 5, 4, 3, 5]), 64, seed=0)
    assert sum(len(run.rows) for run in next(iter(batches))) == 5


def test_a_model_of_one_sample_a_run_takes_differing_lengths():
    made = net()
    made.graph.inputs[0].shape = ir.Shape([1, "T", 4])
    batches = Batches(made, ragged(made), 64, seed=0)
    assert batches.size == 8
    assert all(run.feeds["x"].shape[0] == 1 for run in next(iter(batches)))


@pytest.mark.parametrize("text", [TAGGER, MASKED])
def test_a_student_learns_from_differing_lengths(text: str):
    teacher = net(text)
    student = clone(teacher)
    set_weight(student, "w2", array(student, "w2") * np.float32(0.3))
    settings = Settings(steps=40, batch_size=8, rate=1e-2)
    findings = distill(Job(student, teacher, ragged(teacher), None, settings, RuntimeOptions(threads=1)))
    told = next(f for f in findings if f.code == "DISTILL-TRAINED").numbers
    assert float(told["error_after"]) < 0.5 * float(told["error_before"])


def test_a_mask_lets_training_pad_and_nothing_else():
    made = net(MASKED)
    source = ragged(made, [3, 5, 8, 9, 70])
    padding = find_padding(made)
    assert padding is not None
    padded = {p.read([0])["x"].shape[1] for _, p in equal_parts(source, np.arange(5), padding)}
    assert padded == {8, 16, 96}
    part = next(p for _, p in equal_parts(source, np.array([1]), padding)).read([0])
    assert part["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    assert not part["x"][:, 5:].any()
    assert {r.feeds["x"].shape[1] for r in runs_of(made, source, np.arange(5), of=5)} == {3, 5, 8, 9, 70}
    assert find_padding(net()) is None


@pytest.mark.parametrize(("mask", "padded"), [([0, 0, 0], [0, 0, 0, 1, 1, 1, 1, 1]), ([1, 0, 1], [1, 0, 1])])
def test_the_sense_of_a_mask_is_read_from_it(mask: list[int], padded: list[int]):
    padding = find_padding(net(MASKED))
    assert padding is not None
    sample = {"x": np.ones((1, 3, 4), np.float32), "attention_mask": np.array([mask])}
    assert padding.pad(sample)["attention_mask"][0].tolist() == padded


def test_samples_of_one_size_are_left_as_they_are():
    made = net()
    source = ArraySource({"x": np.random.default_rng(0).normal(size=(40, 6, 4)).astype(np.float32)})
    assert [len(runs) for runs, _ in zip(Batches(made, source, 16, seed=0), range(3), strict=False)] == [1, 1, 1]
