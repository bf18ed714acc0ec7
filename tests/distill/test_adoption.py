"""A teacher under the student's names computes what it did."""

from __future__ import annotations

import numpy as np
import pytest
from builders.distill_models import model, pictures, residual

from onnxcompress.distill.adoption import adopt, aliased, is_renamed
from onnxcompress.errors import ModelError
from onnxcompress.graph import clone
from onnxcompress.runtime import Session

FEEDS = pictures(4).read(range(4))


def stranger():
    """The residual net with other names outside; inside, a tensor is called as the student's output."""
    made = clone(residual(seed=3))
    made.graph.inputs[0].name = "image"
    values = {v.name: v for node in made.graph for v in node.outputs}
    values["logits"].name, values["pooled"].name = "scores", "logits"
    return made


def test_a_stranger_is_fed_and_read_by_the_students_names():
    teacher = stranger()
    before = Session(teacher).run({"image": FEEDS["x"]})["scores"]
    adopted = adopt(residual(), teacher, {}, {}, {"block1": "block2", "r0": "r0"})
    made = Session(adopted.teacher, taps=["logits", "block1", "r0"]).run(FEEDS, ["logits", "block1", "r0"])
    inner = Session(teacher, taps=["block2"]).run({"image": FEEDS["x"]}, ["block2"])
    np.testing.assert_array_equal(made["logits"], before)
    np.testing.assert_array_equal(made["block1"], inner["block2"])
    assert adopted.answers == ("logits",)
    assert is_renamed(adopted.teacher)
    assert not is_renamed(teacher)
    assert [v.name for v in teacher.graph.inputs] == ["image"], "the given model is not edited"


def test_a_teacher_of_the_same_names_is_taken_as_it_is():
    teacher = residual()
    assert adopt(clone(teacher), teacher, {}, {}, {}).teacher is teacher
    assert aliased(teacher, {"block1": "block1"}) is teacher


def test_adopting_twice_changes_nothing():
    first = adopt(residual(), stranger(), {"x": "image"}, {"logits": "scores"}, {})
    again = adopt(residual(), first.teacher, {"x": "image"}, {"logits": "scores"}, {})
    assert again.teacher is first.teacher


def test_outputs_are_compared_before_a_softmax_wherever_it_stands():
    head = '<ir_version: 8, opset_import: ["" : 17]>\n'
    weight = {"w": np.eye(3, dtype=np.float32)}
    student = model(head + "net (float[N, 3] x) => (float[N, 3] p) { a = MatMul (x, w)  p = Softmax (a) }", weight)
    text = "net (float[N, 3] x) => (float[N, 3] q) { b = MatMul (x, w)  a = Relu (b)  q = Softmax (b) }"
    adopted = adopt(student, model(head + text, weight), {}, {}, {})
    assert adopted.answers == ("a",)
    x = np.array([[-1, 0, 2]], np.float32)
    np.testing.assert_array_equal(Session(adopted.teacher, taps=["a"]).run({"x": x}, ["a"])["a"], x)


@pytest.mark.parametrize(("hints", "whose"), [({"gone": "block1"}, "student"), ({"block1": "gone"}, "teacher")])
def test_a_hint_that_no_node_makes_is_named(hints, whose):
    with pytest.raises(ModelError, match="cannot compare") as caught:
        adopt(residual(), residual(), {}, {}, hints)
    assert "'gone'" in caught.value.where
    assert whose in caught.value.why
