"""What is noticed before training starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import array, model, pictures, residual, set_weight, with_cut_blocks

from onnxcompress import model_io
from onnxcompress.data import ArraySource, DataSource, open_data
from onnxcompress.distill.checks import check_roles, weight_count
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import DataError
from onnxcompress.graph import clone
from onnxcompress.report import Finding
from onnxcompress.runtime_options import RuntimeOptions

QUICK: dict[str, Any] = {"steps": 2, "batch_size": 32, "rate": 1e-3, "repair": False, "close": 1.0}


def findings_of(student: ir.Model, teacher: ir.Model, data: DataSource, **settings: Any) -> dict[str, Finding]:
    options = Settings(**(QUICK | settings))
    return {f.code: f for f in distill(Job(student, teacher, data, None, options, RuntimeOptions(threads=1)))}


def warned(found: dict[str, Finding]) -> set[str]:
    return {code for code, finding in found.items() if finding.severity == "warning"} - {"DISTILL-NO-GAIN"}


def scaled(factor: float) -> ir.Model:
    """The residual net with logits so much larger."""
    net = residual()
    for name in ("wf", "bf"):
        set_weight(net, name, array(net, name) * np.float32(factor))
    return net


def test_sound_samples_and_roles_are_not_commented_on():
    teacher = scaled(3)
    assert not warned(findings_of(with_cut_blocks(teacher, 5), teacher, pictures(400)))


@pytest.mark.parametrize("spec", ["random:400", "array"])
def test_noise_is_told_to_teach_nothing(spec: str):
    teacher = scaled(3)
    x = np.random.default_rng(0).normal(size=(400, 3, 12, 12)).astype(np.float32)
    data = ArraySource({"x": x}) if spec == "array" else open_data(spec, teacher)
    found = findings_of(with_cut_blocks(teacher, 5), teacher, data)
    assert "does not work" in found["DISTILL-NOISE"].message


def test_made_up_tables_are_told_too():
    text = '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 8] x) => (float[N, 3] y) { y = MatMul (x, w) }'
    teacher = model(text, {"w": np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)})
    student = model(text, {"w": array(teacher, "w") * np.float32(0.5)})
    assert "DISTILL-NOISE" in findings_of(student, teacher, open_data("random:400", teacher))


def test_an_undecided_teacher_is_told_with_the_range_of_the_input():
    teacher = scaled(0.02)
    found = findings_of(with_cut_blocks(teacher, 5), teacher, pictures(400))["DISTILL-TEACHER-UNDECIDED"]
    x = pictures(400).read(range(400))["x"]
    assert found.node == "logits"
    assert 0.99 < float(found.numbers["entropy"]) <= 1
    assert x.min() <= float(found.numbers["low"]) < 0 < float(found.numbers["high"]) <= x.max()
    assert "--preset" in found.message


def test_a_teacher_that_answers_the_same_to_everything_is_told():
    teacher = residual()
    set_weight(teacher, "wf", np.zeros_like(array(teacher, "wf")))
    student = with_cut_blocks(residual(), 5)
    found = findings_of(student, teacher, pictures(400))["DISTILL-TEACHER-CONSTANT"]
    assert "the same 'logits' for all 256 samples" in found.message


def test_a_teacher_that_sees_one_class_only_is_told():
    teacher = scaled(3)
    set_weight(teacher, "bf", np.array([0, 0, 1000, 0], np.float32))
    found = findings_of(with_cut_blocks(teacher, 5), teacher, pictures(400))["DISTILL-TEACHER-CONSTANT"]
    assert "class 2" in found.message


def test_the_first_spoiled_sample_is_named_by_its_place_in_the_users_data():
    x = pictures(400).read(range(400))["x"]
    x[[7, 30]] = np.nan
    data = ArraySource({"x": x}).subset(range(5, 205))
    with pytest.raises(DataError, match="sample 7 of input 'x'") as caught:
        findings_of(with_cut_blocks(residual(), 5), residual(), data)
    assert caught.value.code == "DATA-NAN"


ROOT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3] x) => (float[N, 2] y) { r = Sqrt (x)  y = MatMul (r, w) }"""


@pytest.mark.parametrize(("low", "why", "hint"), [(0.1, "1 of 150", "Leave such"), (-2.0, "150 of 150", "damaged")])
def test_a_teacher_that_answers_with_nan_is_refused_by_sample(low: float, why: str, hint: str):
    teacher = model(ROOT, {"w": np.ones((3, 2), np.float32)})
    student = model(ROOT, {"w": np.full((3, 2), 0.5, np.float32)})
    x = np.random.default_rng(0).uniform(low, low + 0.5, size=(200, 3)).astype(np.float32)
    x[11] = -1
    with pytest.raises(DataError, match="output 'y'") as caught:
        findings_of(student, teacher, ArraySource({"x": x}))
    assert caught.value.code == "DATA-TEACHER-NAN"
    assert why in caught.value.why
    assert hint in caught.value.hint
    assert low < 0 or "sample 11" in caught.value.where


def test_student_and_teacher_that_are_one_model_are_left_alone():
    teacher = residual()
    student = clone(teacher)
    before = model_io.to_bytes(student)
    found = findings_of(student, teacher, pictures(100), steps=50)
    assert "the same model" in found["DISTILL-SAME"].message
    assert "nothing to gain" in found["DISTILL-CLOSE"].message
    assert model_io.to_bytes(student) == before


def test_a_nearly_equal_student_is_trained():
    teacher = residual()
    student = clone(teacher)
    set_weight(student, "wf", array(student, "wf") * np.float32(1.001))
    found = findings_of(student, teacher, pictures(100))
    assert "DISTILL-SAME" not in found


def test_swapped_files_are_told():
    big = residual()
    small = with_cut_blocks(big, 5)
    assert "swapped" in findings_of(big, small, pictures(100), loss="kl")["DISTILL-SWAPPED"].message
    assert weight_count(small) < weight_count(big)
    assert check_roles(small, big) == []
    assert [f.code for f in check_roles(big, clone(big))] == ["DISTILL-SAME"]


PAIR = """<ir_version: 8, opset_import: ["" : 17]> net (float[N, 4] x) => (float[N, 2] y)
<float s = {0.1}> { d = DequantizeLinear (w, s)  y = MatMul (x, d) }"""
PLAIN = '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 4] x) => (float[N, 2] y) { y = MatMul (x, w) }'


def test_a_quantized_teacher_of_a_float_student_is_told():
    quantized = model(PAIR, {"w": np.ones((4, 2), np.int8)})
    plain = model(PLAIN, {"w": np.ones((4, 2), np.float32)})
    assert "is quantized and the student is not" in check_roles(plain, quantized)[0].message
    assert check_roles(quantized, plain) == []


def test_labels_that_train_nothing_are_noted():
    teacher = scaled(3)
    student = with_cut_blocks(teacher, 5)
    assert "DISTILL-LABELS-UNUSED" in findings_of(clone(student), teacher, pictures(100, labels=True))
    assert "DISTILL-LABELS-UNUSED" not in findings_of(
        clone(student), teacher, pictures(100, labels=True), loss="kl:0.9,ce:0.1"
    )
    assert "DISTILL-LABELS-UNUSED" not in findings_of(clone(student), teacher, pictures(100))


@pytest.mark.parametrize("wrong", [4, -1, 2**62])
@pytest.mark.parametrize("places", [slice(None), slice(300, 301)])
def test_labels_that_are_no_classes_are_refused_before_training(wrong: int, places: slice):
    teacher, labels = scaled(3), np.zeros(400, np.int64)
    labels[places] = wrong
    data = ArraySource(pictures(400).read(range(400)), labels)
    with pytest.raises(DataError, match=f"its label is {wrong}, and the classes of 'logits' are 0 to 3"):
        findings_of(with_cut_blocks(teacher, 5), teacher, data, loss="kl:0.5,ce:0.5", steps=0)


def test_labels_of_another_form_are_refused():
    teacher = scaled(3)
    data = ArraySource(pictures(400).read(range(400)), np.zeros((400, 2), np.int64))
    with pytest.raises(DataError, match="wants one label a sample"):
        findings_of(with_cut_blocks(teacher, 5), teacher, data, loss="ce")


def test_labels_to_pass_over_are_fine():
    teacher, labels = scaled(3), np.zeros(400, np.int64)
    labels[::3] = -100
    data = ArraySource(pictures(400).read(range(400)), labels)
    assert findings_of(with_cut_blocks(teacher, 5), teacher, data, loss="kl:0.5,ce:0.5")


def test_a_teacher_that_learns_along_looks_at_labels_only_where_the_student_does():
    teacher = scaled(3)
    data = ArraySource(pictures(400).read(range(400)), np.full(400, 99))
    found = findings_of(with_cut_blocks(teacher, 5), teacher, data, teacher_rate=1.0)
    assert found.keys() & {"DISTILL-COTRAINED", "DISTILL-COTRAINING-STOPPED"}


CONSTANTS = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x) => (float[N, 2] y) {
    w = Constant <value = float[4, 2] {NUMBERS}> ()
    b = Constant <value_floats = [0.5, 1.5]> ()
    m = MatMul (x, w)
    y = Add (m, b)
}
"""


def constants(numbers: str) -> ir.Model:
    return model(CONSTANTS.replace("{NUMBERS}", f"{{{numbers}}}"))


def test_models_that_differ_in_constant_nodes_are_two_models():
    teacher, student = constants("1, 2, 3, 4, 5, 6, 7, 8"), constants("1, 2, 3, 5, 5, 6, 6, 8")
    assert weight_count(student) == 10
    assert not check_roles(student, teacher)
    assert check_roles(teacher, teacher)[0].code == "DISTILL-SAME"


def test_weights_in_constant_nodes_are_trained_and_keep_their_form():
    teacher, student = constants("1, 2, 3, 4, 5, 6, 7, 8"), constants("1, 2, 3, 5, 5, 6, 6, 8")
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    found = findings_of(student, teacher, ArraySource({"x": x}), steps=30)
    assert "DISTILL-TRAINED" in found
    assert [list(n.attributes) for n in student.graph][:2] == [["value"], ["value_floats"]]


INTEGER = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x) => (float[N, 2] y) <int8[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float s = {0.1}, float[2] b = {0, 1}> {
    q, a, z = DynamicQuantizeLinear (x)
    m = MatMulInteger (q, w, z)
    f = Cast <to = 1> (m)
    r = Mul (f, a)
    d = Mul (r, s)
    y = Add (d, b)
}
"""
WHOLE = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x) => (float[N, 2] y)
<float[4, 2] w = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}, float[2] b = {0, 0}> {
    m = MatMul (x, w)
    y = Add (m, b)
}
"""


def test_integer_weights_that_stay_are_told_and_no_files_seem_swapped():
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    found = findings_of(model(INTEGER), model(WHOLE), ArraySource({"x": x}))
    assert "MatMulInteger" in found["DISTILL-INTEGER-WEIGHTS"].message
    assert "DISTILL-SWAPPED" not in found


def test_an_output_without_elements_does_not_spoil_the_figures():
    text = WHOLE.replace("(float[N, 2] y)", "(float[N, 2] y, float[N, 0] u)").replace(
        "y = Add (m, b)", "y = Add (m, b)\n    u = MatMul (x, e)"
    )
    teacher, student = (model(text, {"e": np.zeros((4, 0), np.float32)}) for _ in range(2))
    set_weight(student, "w", array(student, "w") + np.float32(0.3) * np.eye(4, 2, dtype=np.float32))
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    assert "DISTILL-TRAINED" in findings_of(student, teacher, ArraySource({"x": x}), steps=20)
