"""A teacher that learns along: what it makes small, how far it may go, and that its model stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_models import model, pictures, residual, with_cut_blocks

from onnxcompress import model_io
from onnxcompress.distill.batches import Run
from onnxcompress.distill.comparison import Comparison
from onnxcompress.distill.cotraining import BOUND, LearningTeacher
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.losses.base import Sample
from onnxcompress.distill.losses.soft import divergence
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.settings import Settings
from onnxcompress.distill.taps import Tap
from onnxcompress.distill.teacher import Teacher
from onnxcompress.errors import ModelError
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)
LOGITS = Answer("logits", "logits", 1)
FEEDS = pictures(64).read(range(64))


def learner(multiple: float = 1.0, names: tuple[str, ...] = ("logits",), taps: tuple[Tap, ...] = ()) -> LearningTeacher:
    pair = Comparison((LOGITS,), taps, {"logits": 1.0})
    return LearningTeacher(residual(), names, pair, multiple, "sgd", ONE)


def seen(teacher: LearningTeacher, labels: torch.Tensor | None = None) -> list[tuple[Run, Sample]]:
    """One batch, with the answers of a student whose inner channels are cut."""
    student = Teacher(with_cut_blocks(residual(), 5), ["logits"], (), ONE).tensors(FEEDS)
    run = Run(FEEDS, 1.0, labels)
    return [(run, Sample(student, teacher.tensors(FEEDS), labels))]


def pull(teacher: LearningTeacher, batch: list[tuple[Run, Sample]]) -> float:
    """KL(p_s || p_t)."""
    (_, sample) = batch[0]
    return float(divergence(teacher.tensors(FEEDS)["logits"], sample.student["logits"], 1, 1.0))


def test_before_its_first_step_it_is_the_teacher_with_the_students_channels():
    tap = Tap("r1", {1: np.array([0, 3, 4])})
    teacher = learner(names=("logits", "r1"), taps=(tap,))
    original = Teacher(residual(), ["logits", "r1"], [tap], ONE).tensors(FEEDS)
    for name, tensor in teacher.tensors(FEEDS).items():
        torch.testing.assert_close(tensor, original[name], atol=1e-4, rtol=1e-4)


def test_it_comes_towards_the_student():
    teacher = learner()
    batch = seen(teacher)
    apart = pull(teacher, batch)
    for _ in range(5):
        teacher.follow(batch, 1e-4)
    assert pull(teacher, batch) < apart
    assert 0 < teacher.drift < BOUND
    assert teacher.steps == 5
    assert not batch[0][1].student["logits"].requires_grad


def test_the_anchor_holds_it_half_way():
    """The loss is KL(p_t || p_t0) + KL(p_s || p_t): the way to the student costs what is lost of the start."""
    teacher = learner()
    batch = seen(teacher)
    start = Teacher(residual(), ["logits"], (), ONE).tensors(FEEDS)["logits"]
    loss, drift = teacher.loss(*batch[0])
    assert drift == pytest.approx(0.0, abs=1e-6)
    assert float(loss.detach()) == pytest.approx(pull(teacher, batch), rel=1e-3)
    for _ in range(3):
        teacher.follow(batch, 1e-4)
    now = teacher.tensors(FEEDS)["logits"]
    loss, drift = teacher.loss(*batch[0])
    anchor = float(divergence(start, now, 1, 1.0))
    assert drift == pytest.approx(anchor, rel=1e-2)
    assert float(loss.detach()) == pytest.approx(anchor + pull(teacher, batch), rel=1e-2)


def test_labels_add_their_cross_entropy():
    teacher = learner()
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 4, 64))
    (run, sample), (marked, _) = seen(teacher)[0], seen(teacher, labels)[0]
    plain, told = (float(teacher.loss(r, sample)[0].detach()) for r in (run, marked))
    own = float(torch.nn.functional.cross_entropy(teacher.tensors(FEEDS)["logits"], labels))
    assert told - plain == pytest.approx(own, rel=1e-4)


def test_past_the_bound_it_is_frozen_and_says_so():
    teacher = learner(multiple=100.0)
    batch = seen(teacher)
    for _ in range(30):
        teacher.follow(batch, 1e-2)
    assert teacher.frozen
    assert teacher.drift > BOUND
    steps, weights = teacher.steps, teacher.tensors(FEEDS)["logits"]
    assert steps < 30
    teacher.follow(batch, 1e-2)
    assert teacher.steps == steps
    torch.testing.assert_close(teacher.tensors(FEEDS)["logits"], weights, rtol=0, atol=0)
    told = teacher.finding()
    assert told.code == "DISTILL-COTRAINING-STOPPED"
    assert f"frozen at step {steps}" in told.message


def test_a_distillation_with_it_reports_the_drift_and_leaves_the_teachers_model():
    teacher = residual()
    student, before = with_cut_blocks(teacher, 5), model_io.to_bytes(teacher)
    settings = Settings(steps=20, batch_size=32, rate=3e-3, teacher_rate=0.2, loss="kl")
    findings = distill(Job(student, teacher, pictures(200), None, settings, ONE))
    codes = [f.code for f in findings]
    told = next(f for f in findings if f.code in ("DISTILL-COTRAINED", "DISTILL-COTRAINING-STOPPED"))
    assert float(told.numbers["drift"]) > 0
    assert codes[-1] == "DISTILL-TRAINED"
    assert float(findings[-1].numbers["error_after"]) < float(findings[-1].numbers["error_before"])
    assert model_io.to_bytes(teacher) == before


def test_the_trials_of_rates_do_not_teach_the_teacher():
    settings = Settings(steps=8, batch_size=32, rate=None, teacher_rate=1e-6, loss="kl")
    teacher = residual()
    findings = distill(Job(with_cut_blocks(teacher, 5), teacher, pictures(200), None, settings, ONE))
    assert next(f for f in findings if f.code == "DISTILL-COTRAINED").numbers["steps"] == 8


def test_a_teacher_without_weights_is_refused():
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] logits) { logits = Relu(x) }"""
    with pytest.raises(ModelError, match="no weights"):
        LearningTeacher(model(text), ("logits",), Comparison((LOGITS,), (), {"logits": 1.0}), 1.0, "sgd", ONE)
