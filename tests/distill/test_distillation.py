"""Distillation from beginning to end on a small net."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import array, model, node_list, pictures, residual, set_weight, with_cut_blocks

from onnxcompress import model_io
from onnxcompress.data import ArraySource, DataSource
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.selection import keep_still
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import DataError, ModelError, UsageError
from onnxcompress.graph import clone
from onnxcompress.passes.base import Scope
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)
QUICK: dict[str, Any] = {"steps": 60, "batch_size": 32, "rate": 3e-3}


def job(
    student: ir.Model,
    teacher: ir.Model,
    data: DataSource | None = None,
    held_out: DataSource | None = None,
    scope: Scope | None = None,
    **settings: Any,
) -> Job:
    data = pictures(400) if data is None else data
    return Job(student, teacher, data, held_out, Settings(**{**QUICK, **settings}), ONE, scope or Scope())


def agreement(a: ir.Model, b: ir.Model, data: DataSource) -> float:
    feeds = data.read(range(len(data)))
    return float((Session(a).run(feeds)["logits"].argmax(1) == Session(b).run(feeds)["logits"].argmax(1)).mean())


def found(findings: list[Finding], code: str) -> Any:
    return next(f for f in findings if f.code == code)


@pytest.mark.parametrize("loss", ["auto", "kl", "mse"])
def test_a_cut_student_comes_back_without_labels(loss: str):
    teacher, unseen = residual(), pictures(600, seed=9)
    student = with_cut_blocks(teacher, 5)
    before, nodes = agreement(student, teacher, unseen), node_list(student)
    findings = distill(job(student, teacher, loss=loss, held_out=unseen))
    after, told = agreement(student, teacher, unseen), found(findings, "DISTILL-TRAINED").numbers
    assert after > before + 0.05
    assert told["agreement_before"] == pytest.approx(before, abs=0.01)
    assert told["agreement_after"] == pytest.approx(after, abs=0.01)
    assert node_list(student) == nodes
    assert loss != "auto" or told["loss"] == "hints:0.8,kl:0.2"


def test_repair_alone_helps_before_any_gradient():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    findings = distill(job(student, teacher, steps=1, rate=1e-9))
    numbers = found(findings, "DISTILL-REPAIRED").numbers
    assert numbers["error_after"] < 0.7 * numbers["error_before"]


def test_the_rate_is_found_by_trial():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    findings = distill(job(student, teacher, steps=20, rate=None))
    assert any(found(findings, "DISTILL-TRAINED").numbers["rate"] == pytest.approx(r) for r in (9e-3, 3e-3, 9e-4, 3e-4))


def test_zero_steps_change_no_byte():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    before = model_io.to_bytes(student)
    findings = distill(job(student, teacher, steps=0))
    assert model_io.to_bytes(student) == before
    assert found(findings, "DISTILL-NO-STEPS").numbers["agreement_before"] < 0.9


def test_a_perfect_student_is_left_alone():
    teacher = residual()
    student = clone(teacher)
    before = model_io.to_bytes(student)
    findings = distill(job(student, teacher, steps=10))
    assert model_io.to_bytes(student) == before
    assert found(findings, "DISTILL-SAME").severity == "warning"


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others():
    teacher = residual()
    made = []
    for seed in (0, 0, 1):
        student = with_cut_blocks(teacher, 5)
        distill(job(student, teacher, steps=5, seed=seed))
        made.append(model_io.to_bytes(student))
    assert made[0] == made[1] != made[2]


def test_notes_of_constants_stay():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    tensor = student.graph.initializers["wf"].const_value
    assert tensor is not None
    tensor.doc_string = "the head"
    before = array(student, "wf").copy()
    distill(job(student, teacher))
    made = student.graph.initializers["wf"].const_value
    assert made is not None and made.doc_string == "the head" and not np.array_equal(made.numpy(), before)


def test_weights_that_stay_take_no_gradient():
    bridge = Bridge(residual())
    chosen = [(w, p) for w, p in bridge.trainable() if w.role == "bias"]
    keep_still(bridge, chosen)
    feeds = pictures(4).read(range(4))
    bridge.specialise(feeds).run(feeds)["logits"].sum().backward()
    moved = {w.name for w, p in bridge.trainable() if p.grad is not None}
    assert moved == {w.name for w, _ in chosen}


def test_samples_of_many_sizes_do_not_fill_the_memory():
    text = '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 4] x) => (float[N, 4] y) { y = MatMul (x, w) }'
    bridge = Bridge(model(text, {"w": np.eye(4, dtype=np.float32)}))
    made = [bridge.specialise({"x": np.ones((count, 4), np.float32)}) for count in range(1, 90)]
    assert len(bridge._cache) < 70  # pyright: ignore[reportPrivateUsage]
    assert bridge.specialise({"x": np.ones((89, 4), np.float32)}) is made[-1]


def test_zeros_of_a_sparse_student_stay():
    teacher = residual()
    student = clone(teacher)
    w = array(student, "w2").copy()
    w[np.abs(w) < np.quantile(np.abs(w), 0.6)] = 0
    set_weight(student, "w2", w)
    findings = distill(job(student, teacher))
    assert found(findings, "DISTILL-SPARSE").numbers["weights"] == 1
    np.testing.assert_array_equal(array(student, "w2") == 0, w == 0)
    assert not np.array_equal(array(student, "w2"), w)


@pytest.mark.parametrize(("train", "moved"), [("bias", {"bias2", "bias4", "bf"}), ("norm", {"g", "b"})])
def test_only_the_chosen_kind_of_weight_moves(train: str, moved: set[str]):
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    start = {n: array(student, n).copy() for n in student.graph.initializers}
    distill(job(student, teacher, train=train, repair=False, steps=10))
    changed = {n for n, a in start.items() if not np.array_equal(array(student, n), a)}
    assert changed
    assert {n.rstrip("0123456789") if train == "norm" else n for n in changed} <= moved


def test_excluded_nodes_keep_their_weights():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    w0 = array(student, "w0").copy()
    for node in student.graph:
        node.name = f"/{node.outputs[0].name}"
    distill(job(student, teacher, scope=Scope(exclude=("/c0",)), repair=False, steps=10))
    np.testing.assert_array_equal(array(student, "w0"), w0)


def test_running_statistics_move_only_where_asked():
    teacher = residual()
    for bn in ("freeze", "update"):
        student = with_cut_blocks(teacher, 5)
        m0 = array(student, "m0").copy()
        distill(job(student, teacher, bn=bn, repair=False, steps=20))
        assert np.array_equal(array(student, "m0"), m0) == (bn == "freeze")


def test_labels_can_be_a_term():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    findings = distill(job(student, teacher, pictures(200, labels=True), loss="kl:0.9,ce:0.1", steps=20))
    assert found(findings, "DISTILL-TRAINED")


def relabelled(teacher: ir.Model) -> ArraySource:
    """The teacher's classes, each with the next one's number."""
    x = pictures(400).read(range(400))
    return ArraySource(x, (Session(teacher).run(x)["logits"].argmax(1) + 1) % 4)


def hits(student: ir.Model, data: DataSource) -> float:
    right = data.labels(range(len(data)))
    return float((Session(student).run(data.read(range(len(data))))["logits"].argmax(1) == right).mean())


def test_labels_alone_are_the_aim_by_which_the_student_is_judged():
    teacher = residual()
    student, data = with_cut_blocks(teacher, 5), relabelled(teacher)
    before = hits(student, data)
    told = found(distill(job(student, teacher, data, loss="ce", rate=2e-2, steps=150)), "DISTILL-TRAINED")
    assert told.numbers["aim"] == "labels"
    assert "towards the labels" in told.message
    assert told.numbers["agreement_after"] > told.numbers["agreement_before"]
    assert hits(student, data) > before + 0.3  # and that far from its teacher, who names another class


def test_labels_train_a_student_that_its_teacher_is_content_with():
    teacher = residual()
    student, data = clone(teacher), relabelled(teacher)
    assert found(distill(job(student, teacher, data, loss="ce", rate=2e-2, steps=150, close=0.9)), "DISTILL-TRAINED")
    assert hits(student, data) > 0.5


def test_the_teacher_judges_where_samples_that_measure_have_no_labels():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    findings = distill(job(student, teacher, relabelled(teacher), pictures(100, 2), loss="ce", repair=False))
    assert next(f for f in findings if "aim" in f.numbers).numbers["aim"] == "teacher"


def test_wrong_labels_among_samples_that_measure_are_refused():
    teacher = residual()
    measure = ArraySource(pictures(100, 2).read(range(100)), np.full(100, 9))
    with pytest.raises(DataError, match="labels cannot be learned"):
        distill(job(with_cut_blocks(teacher, 5), teacher, relabelled(teacher), measure, loss="ce"))


@pytest.mark.parametrize("count", [8, 50])
def test_few_samples_do_with_a_warning(count: int):
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    findings = distill(job(student, teacher, pictures(count), steps=5))
    assert found(findings, "DISTILL-FEW-SAMPLES").severity == "warning"


def test_a_fixed_batch_of_one_takes_several_runs_a_step():
    teacher = residual()
    teacher.graph.inputs[0].shape = student_shape = ir.Shape([1, 3, 12, 12])
    student = with_cut_blocks(teacher, 5)
    student.graph.inputs[0].shape = student_shape
    findings = distill(job(student, teacher, pictures(30), steps=30, rate=1e-3))
    numbers = found(findings, "DISTILL-TRAINED").numbers
    assert numbers["error_after"] < numbers["error_before"]


QUANTIZED = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 8] x) => (float[N, 3] logits) <float sx = {0.04}, uint8 zx = {128}, float sh = {0.05}, uint8 zh = {0}> {
    xq = QuantizeLinear (x, sx, zx)
    xd = DequantizeLinear (xq, sx, zx)
    w1d = DequantizeLinear (w1, s1)
    a = MatMul (xd, w1d)
    h = Relu (a)
    hq = QuantizeLinear (h, sh, zh)
    hd = DequantizeLinear (hq, sh, zh)
    w2d = DequantizeLinear (w2, s2)
    logits = MatMul (hd, w2d)
}
"""
FLOAT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 8] x) => (float[N, 3] logits) { a = MatMul (x, w1)  h = Relu (a)  logits = MatMul (h, w2) }
"""


def test_a_quantized_student_is_trained_as_it_will_run():
    rng = np.random.default_rng(0)
    w1, w2 = (rng.normal(size=s).astype(np.float32) for s in ((8, 16), (16, 3)))
    teacher = model(FLOAT, {"w1": w1, "w2": w2})
    coarse = {n: np.float32(np.abs(w).max() / 3) for n, w in (("s1", w1), ("s2", w2))}
    grids = {
        "w1": np.clip(np.round(w1 / coarse["s1"]), -3, 3).astype(np.int8),
        "w2": np.clip(np.round(w2 / coarse["s2"]), -3, 3).astype(np.int8),
    }
    student = model(QUANTIZED, {**grids, **{n: np.asarray(s) for n, s in coarse.items()}})
    data = ArraySource({"x": rng.normal(size=(600, 8)).astype(np.float32)})
    unseen = ArraySource({"x": rng.normal(size=(600, 8)).astype(np.float32)})
    before = agreement(student, teacher, unseen)
    findings = distill(job(student, teacher, data, unseen, steps=150, rate=1e-2))
    told = found(findings, "DISTILL-TRAINED").numbers
    assert told["loss"] == "kl:1"
    assert agreement(student, teacher, unseen) > before + 0.02
    assert array(student, "w1").dtype == np.int8
    assert agreement(student, teacher, unseen) == pytest.approx(told["agreement_after"], abs=0.01)


REGRESSION = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, T, 4] x, float[1, N, 6] h0) => (float[T, N, 6] y, float[1, N, 6] h) {
    t = Transpose <perm = [1, 0, 2]> (x)
    y4, h = GRU <hidden_size = 6, linear_before_reset = 1> (t, w, r, b, , h0)
    axis = Constant <value_ints = [1]> ()
    y = Squeeze (y4, axis)
}
"""


def test_a_recurrent_net_with_two_inputs_and_two_outputs():
    rng = np.random.default_rng(0)
    shapes = {"w": (1, 18, 4), "r": (1, 18, 6), "b": (1, 36)}
    teacher = model(REGRESSION, {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()})
    student = clone(teacher)
    set_weight(student, "w", array(student, "w") * 0.5)
    data = {"x": rng.normal(size=(80, 7, 4)), "h0": rng.normal(size=(80, 1, 6))}
    findings = distill(
        job(student, teacher, ArraySource({n: a.astype(np.float32) for n, a in data.items()}), rate=2e-2)
    )
    numbers = found(findings, "DISTILL-TRAINED").numbers
    assert numbers["error_after"] < 0.3 * numbers["error_before"]
    assert "agreement_after" not in numbers


ARGMAX = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 8] x) => (int64[N] ids) { a = MatMul (x, w1)  p = Softmax (a)  ids = ArgMax <axis = 1, keepdims = 0> (p) }
"""


def test_a_model_that_gives_only_class_ids_is_compared_before_them():
    rng = np.random.default_rng(0)
    teacher = model(ARGMAX, {"w1": rng.normal(size=(8, 4)).astype(np.float32)})
    student = clone(teacher)
    set_weight(student, "w1", array(student, "w1") + rng.normal(size=(8, 4)).astype(np.float32))
    data = ArraySource({"x": rng.normal(size=(500, 8)).astype(np.float32)})
    numbers = found(distill(job(student, teacher, data, rate=5e-2)), "DISTILL-TRAINED").numbers
    assert numbers["agreement_after"] > numbers["agreement_before"]


def test_a_teacher_with_another_input_is_refused():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[N, 1, 12, 12] image) => (float[N, 4] logits) { logits = Flatten (image) }"""
    with pytest.raises(ModelError, match="teacher and student do not fit") as caught:
        distill(job(residual(), model(text)))
    assert "'x'" in caught.value.where
    assert "image" in caught.value.why


def test_a_teacher_with_other_outputs_is_refused():
    teacher = residual()
    teacher.graph.outputs[0].shape = ir.Shape(["N", 5, 2])
    with pytest.raises(ModelError, match="teacher and student do not fit") as caught:
        distill(job(residual(), teacher))
    assert "'logits'" in caught.value.where


@pytest.mark.parametrize("loss", ["kl:0", "magic", "hints:x", "kl,,"])
def test_a_loss_that_does_not_exist_is_refused(loss: str):
    teacher = residual()
    with pytest.raises(UsageError, match="unknown loss"):
        distill(job(clone(teacher), teacher, loss=loss))


def test_labels_that_are_not_there_are_missed():
    teacher = residual()
    with pytest.raises(UsageError, match="needs labels"):
        distill(job(clone(teacher), teacher, loss="ce"))


def test_no_samples_are_refused():
    teacher = residual()
    with pytest.raises(DataError, match="no sample"):
        distill(job(clone(teacher), teacher, ArraySource({"x": np.zeros((0, 3, 12, 12), np.float32)})))


def test_a_gradient_that_is_not_finite_is_left_out_and_told():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[N, 2] x) => (float[N, 2] y) { a = MatMul (x, w)  r = Abs (a)  y = Sqrt (r) }"""
    teacher = model(text, {"w": np.eye(2, dtype=np.float32)})
    student = clone(teacher)
    set_weight(student, "w", np.array([[0.0, 0.0], [0.0, 0.5]], np.float32))
    data = ArraySource({"x": np.random.default_rng(0).uniform(size=(50, 2)).astype(np.float32)})
    findings = distill(job(student, teacher, data))
    assert found(findings, "DISTILL-NOT-FINITE").node == "w"
    assert np.isfinite(array(student, "w")).all()


def test_a_weight_that_is_an_output_too_is_no_answer():
    teacher = residual()
    weight = next(v for v in teacher.graph.initializers.values() if v.shape is not None and len(v.shape) == 4)
    teacher.graph.outputs.append(weight)
    student = with_cut_blocks(teacher, 5)
    findings = distill(job(student, teacher, steps=5))
    assert [v.name for v in student.graph.outputs] == ["logits", weight.name]
    assert {f.code for f in findings} & {"DISTILL-TRAINED", "DISTILL-REPAIRED"}


def test_a_budget_ends_the_training_and_nothing_else_is_needed():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    began = time.perf_counter()
    findings = distill(job(student, teacher, steps=None, budget=8.0))
    numbers = found(findings, "DISTILL-TRAINED").numbers
    assert numbers["steps"] > 5
    assert numbers["seconds"] <= time.perf_counter() - began + 0.01  # it is rounded
    assert numbers["agreement_after"] > numbers["agreement_before"]


def test_a_budget_too_short_for_a_step_leaves_the_student():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    before = model_io.to_bytes(student)
    findings = distill(job(student, teacher, steps=None, budget=1e-3, repair=False))
    assert found(findings, "DISTILL-NO-GAIN").numbers["steps"] == 0
    assert model_io.to_bytes(student) == before


def test_a_student_close_enough_is_left_at_once_unless_asked():
    teacher, data = residual(), pictures(600)
    student = clone(teacher)
    set_weight(student, "bf", array(teacher, "bf") + 1e-4)
    before = model_io.to_bytes(student)
    assert found(distill(job(student, teacher, data, data)), "DISTILL-CLOSE").numbers["agreement_before"] == 1.0
    assert model_io.to_bytes(student) == before
    assert "DISTILL-CLOSE" not in {f.code for f in distill(job(student, teacher, data, data, close=1.0))}


def test_training_stops_where_the_student_has_come_close():
    teacher, data = residual(), pictures(1200)
    findings = distill(job(with_cut_blocks(teacher, 5), teacher, data, data, steps=400, close=0.6))
    assert found(findings, "DISTILL-STOP-CLOSE").numbers["step"] < 400


def test_training_stops_where_nothing_is_gained_for_a_while():
    teacher = residual()
    findings = distill(job(with_cut_blocks(teacher, 5), teacher, rate=1e-12, steps=60, patience=2, repair=False))
    assert found(findings, "DISTILL-STOP-PLATEAU").numbers["step"] <= 30


def test_averaged_weights_are_kept_where_asked():
    teacher = residual()
    results = [distill(job(with_cut_blocks(teacher, 5), teacher, ema=ema)) for ema in (0.0, 0.9)]
    errors = [found(findings, "DISTILL-TRAINED").numbers["error_after"] for findings in results]
    assert errors[0] != errors[1]


def test_a_worse_student_is_written_only_where_asked():
    teacher = residual()
    for accept, code in ((False, "DISTILL-NO-GAIN"), (True, "DISTILL-WORSE")):
        student = with_cut_blocks(teacher, 1)
        before = model_io.to_bytes(student)
        # The training samples are nothing like those that decide.
        other = ArraySource({"x": np.full((64, 3, 12, 12), 5.0, np.float32)})
        findings = distill(job(student, teacher, other, pictures(400), loss="mse", rate=0.3, accept_worse=accept))
        assert found(findings, code)
        assert (model_io.to_bytes(student) != before) is accept


def test_nothing_is_called_written_where_the_start_was_the_best():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    before = model_io.to_bytes(student)
    findings = distill(job(student, teacher, repair=False, steps=3, rate=900.0, accept_worse=True))
    assert found(findings, "DISTILL-NO-GAIN")
    assert model_io.to_bytes(student) == before


def test_a_student_that_answers_nan_is_told():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    set_weight(student, "v0", -array(student, "v0"))
    findings = distill(job(student, teacher, repair=False, steps=3))
    assert found(findings, "DISTILL-STUDENT-NAN").severity == "warning"
