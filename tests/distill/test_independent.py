"""Students that were not made from their teacher: other names, other networks."""

from __future__ import annotations

import numpy as np
import pytest
from builders.distill_models import array, model, pictures, residual, set_weight

from onnxcompress.data import ArraySource
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import ModelError
from onnxcompress.graph import clone
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

SMALL = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 12, 12] picture) => (float[N, 4] answer) {
    a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (picture, k1, c1)
    first = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (first, k2, c2)
    second = Relu (b)
    pool = GlobalAveragePool (second)
    vector = Flatten (pool)
    answer = Gemm <transB = 1> (vector, k3, c3)
}
"""


def small(classes: int = 4, seed: int = 7):
    """A student of another make."""
    rng = np.random.default_rng(seed)
    shapes = {"k1": (6, 3, 3, 3), "c1": (6,), "k2": (6, 6, 3, 3), "c2": (6,), "k3": (classes, 6), "c3": (classes,)}
    weights = {n: (rng.normal(size=s) * 0.3).astype(np.float32) for n, s in shapes.items()}
    return model(SMALL.replace("float[N, 4]", f"float[N, {classes}]"), weights)


def data(count: int, seed: int = 1):
    source = pictures(count, seed)
    return type(source)({"picture": source.read(range(count))["x"]})


def train(student, teacher, **settings):
    chosen = Settings(**{"steps": 120, "batch_size": 32, "rate": 1e-2, **settings})
    return distill(Job(student, teacher, data(400), data(600, 9), chosen, RuntimeOptions(threads=1)))


def agreement(student, teacher, name="logits"):
    x = pictures(600, 9).read(range(600))["x"]
    theirs = Session(teacher).run({teacher.graph.inputs[0].name: x})[name].argmax(1)
    return float((Session(student).run({"picture": x})["answer"].argmax(1) == theirs).mean())


def told(findings, code="DISTILL-TRAINED"):
    return next(f.numbers for f in findings if f.code == code)


def test_a_student_without_one_name_in_common_learns_from_the_outputs():
    teacher, student = residual(), small()
    before = agreement(student, teacher)
    findings = train(student, teacher)
    assert agreement(student, teacher) > before + 0.1
    assert told(findings)["loss"] == "kl:1"
    codes = [f.code for f in findings]
    assert codes.count("DISTILL-PAIRED") == 2
    assert "DISTILL-NO-HINTS" in codes


@pytest.mark.parametrize("hint", [("second=block2",), ("first=block1", "second=block2")])
def test_hints_between_networks_go_through_a_learned_projection(hint):
    """Other channels and another picture size: 6 of 6 x 6 against 8 of 12 x 12."""
    teacher, student = residual(), small()
    before = agreement(student, teacher)
    findings = train(student, teacher, hint=hint)
    assert told(findings)["loss"] == "hints:0.8,kl:0.2"
    assert agreement(student, teacher) > before + 0.2


def test_inputs_and_outputs_pair_as_told():
    teacher = clone(residual())
    teacher.graph.outputs.insert(0, next(v for n in teacher.graph for v in n.outputs if v.name == "flat"))
    student = small()
    findings = train(student, teacher, map_teacher=("picture=x",), pair=("answer=logits",), steps=60)
    assert told(findings)["agreement_after"] > told(findings)["agreement_before"]
    assert "DISTILL-PAIRED" not in [f.code for f in findings]


def narrowed(teacher, keep: int):
    """The residual net with its trunk cut to the first channels, and no record of it."""
    student = clone(teacher)
    for name in ("w0", "w2", "w4", "bias2", "bias4", "g0", "b0", "m0", "v0"):
        set_weight(student, name, array(student, name)[:keep])
    for name in ("w1", "w3", "wf"):
        set_weight(student, name, array(student, name)[:, :keep])
    return student


def test_a_cut_student_without_a_record_is_compared_through_projections_where_nothing_else_is_alike():
    teacher = residual()
    student = narrowed(teacher, 6)
    chosen = Settings(steps=80, rate=5e-3)
    findings = distill(Job(student, teacher, pictures(300), pictures(600, 9), chosen, RuntimeOptions(threads=1)))
    assert told(findings)["loss"] == "hints:0.8,kl:0.2"
    assert told(findings)["agreement_after"] > told(findings)["agreement_before"] + 0.1


def test_hints_of_tensors_that_no_projection_brings_together_are_refused():
    with pytest.raises(ModelError, match="cannot compare") as caught:
        train(small(), residual(), hint=("vector=block2",))
    assert "[" in caught.value.why
    assert "'vector'" in caught.value.where


def labelled(count: int, seed: int = 1):
    """Pictures with the teacher's class modulo two as label."""
    source = data(count, seed)
    x = source.read(range(count))["picture"]
    return ArraySource({"picture": x}, Session(residual()).run({"x": x})["logits"].argmax(1) % 2)


@pytest.mark.parametrize(
    ("loss", "alpha", "told_loss"), [("auto", None, "wt:0.5,ce:0.5"), ("wt", 0.9, "wt:0.9,ce:0.1")]
)
def test_a_student_of_other_classes_learns_through_a_matrix_and_labels(loss, alpha, told_loss):
    student, unseen = small(classes=2), labelled(600, 9)
    chosen = Settings(steps=150, batch_size=32, rate=1e-2, loss=loss, alpha=alpha)
    findings = distill(Job(student, residual(), labelled(400), unseen, chosen, RuntimeOptions(threads=1)))
    assert told(findings)["loss"] == told_loss
    assert "DISTILL-CLASSES" in [f.code for f in findings]
    x = unseen.read(range(600))["picture"]
    right = Session(student).run({"picture": x})["answer"].argmax(1) == unseen.labels(np.arange(600))
    assert right.mean() > 0.65


def test_a_student_of_other_classes_learns_without_labels_too():
    """Its outputs then relate the samples as the teacher's do; what it calls a class is its own affair."""
    findings = train(small(classes=6), residual())
    assert told(findings)["loss"] == "wt:1"
    assert told(findings)["error_after"] < 0.7 * told(findings)["error_before"]


def test_regularizers_ride_along():
    findings = train(small(), residual(), beta=0.05, head_norm=0.01, loss="wt")
    assert told(findings)["loss"] == "wt:1,entropy:0.05,head-norm:0.01"
    assert told(findings)["agreement_after"] > told(findings)["agreement_before"]


@pytest.mark.parametrize("loss", ["std", "std:1@T=4", "cos", "mse", "wt", "kl:1,at:0.5"])
def test_every_output_term_teaches(loss):
    hint = ("second=block2",) if "at" in loss else ()
    findings = train(small(), residual(), loss=loss, hint=hint)
    assert told(findings)["agreement_after"] > told(findings)["agreement_before"] + 0.05


def test_labels_that_no_class_of_the_student_has_are_left_out():
    source = labelled(100)
    odd = ArraySource({"picture": source.read(range(100))["picture"]}, np.arange(100) % 4)
    findings = distill(Job(small(classes=2), residual(), odd, None, Settings(steps=2, rate=1e-3)))
    assert "wt:1" in [f.numbers.get("loss") for f in findings]


PIXELS = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 12, 12] picture) => (float[N, 5, 12, 12] classes) {
    a = Conv <pads = [1, 1, 1, 1]> (picture, k1)
    r = Relu (a)
    classes = Conv <pads = [1, 1, 1, 1]> (r, k2)
}
"""


def test_a_segmentation_is_distilled_pixel_by_pixel():
    rng = np.random.default_rng(0)
    kernels = {"k1": rng.normal(size=(8, 3, 3, 3)), "k2": rng.normal(size=(5, 8, 3, 3))}
    teacher = model(PIXELS, {n: k.astype(np.float32) for n, k in kernels.items()})
    student = clone(teacher)
    set_weight(student, "k1", array(student, "k1")[:5])
    set_weight(student, "k2", array(student, "k2")[:, :5])
    findings = train(student, teacher, steps=60, loss="kl")
    numbers = told(findings)
    assert numbers["agreement_after"] > numbers["agreement_before"] + 0.05
    x = data(600, 9).read(range(600))
    equal = Session(student).run(x)["classes"].argmax(1) == Session(teacher).run(x)["classes"].argmax(1)
    assert float(equal.mean()) == pytest.approx(numbers["agreement_after"], abs=1e-3)
