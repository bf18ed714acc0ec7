"""Which input and output of the teacher stands for which of the student's."""

from __future__ import annotations

import pytest
from builders.distill_models import model

from onnxcompress.distill.pairing import pair_models, parse_pairs
from onnxcompress.errors import ModelError, UsageError

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def net(inputs: str, outputs: str):
    """A net of that interface; what it computes does not matter."""
    first = inputs.split(",  ")[0].split()[-1]
    body = " ".join(f"{o.split()[-1]} = Identity ({first})" for o in outputs.split(",  "))
    return model(f"{HEAD} net ({inputs}) => ({outputs}) {{ {body} }}")


def test_equal_names_pair_whatever_their_order():
    student = net("float[N, 2] a,  float[N, 3] b", "float[N, 4] y,  float[N, 5] z")
    teacher = net("float[N, 3] b,  float[N, 2] a", "float[N, 5] z,  float[N, 4] y")
    naming = pair_models(student, teacher, {}, {})
    assert naming.inputs == {"a": "a", "b": "b"}
    assert naming.outputs == {"y": "y", "z": "z"}
    assert naming.findings == ()


def test_inputs_of_other_names_pair_where_type_and_sizes_leave_one_way():
    student = net("float[N, 2] a,  int64[N, 2] b", "float[N, 4] y")
    teacher = net("int64[N, 2] ids,  float[M, 2] wave", "float[N, 4] y")
    naming = pair_models(student, teacher, {}, {})
    assert naming.inputs == {"a": "wave", "b": "ids"}
    assert [f.code for f in naming.findings] == ["DISTILL-PAIRED", "DISTILL-PAIRED"]


def test_inputs_that_look_alike_are_not_guessed():
    student = net("int64[N, L] a,  int64[N, L] b", "float[N, 4] y")
    teacher = net("int64[N, L] ids,  int64[N, L] mask", "float[N, 4] y")
    with pytest.raises(ModelError, match="do not fit") as caught:
        pair_models(student, teacher, {}, {})
    told = str(caught.value) + caught.value.why + caught.value.hint
    for word in ("'a'", "ids int64[N,L]", "b int64[N,L]", "--map-teacher"):
        assert word in told
    assert pair_models(student, teacher, {"a": "ids", "b": "mask"}, {}).inputs == {"a": "ids", "b": "mask"}
    assert pair_models(student, teacher, {"a": "mask"}, {}).inputs == {"a": "mask", "b": "ids"}


def test_outputs_of_other_names_pair_in_order_where_sizes_agree():
    student = net("float[N, 4] x", "float[N, 4] y,  float[N, 4] z")
    naming = pair_models(student, net("float[N, 4] x", "float[N, 4] p,  float[M, 4] q"), {}, {})
    assert naming.outputs == {"y": "p", "z": "q"}
    with pytest.raises(ModelError, match="do not fit") as caught:
        pair_models(student, net("float[N, 4] x", "float[N, 4] p,  float[N, 7] q"), {}, {})
    assert "--pair" in caught.value.hint
    assert "q float[N,7]" in caught.value.why


def test_a_user_pairs_one_output_and_the_rest_is_left_out():
    student = net("float[N, 4] x", "float[N, 4] y,  float[N, 9] z")
    naming = pair_models(student, net("float[N, 4] x", "float[N, 7] p,  float[N, 4] q"), {}, {"y": "q"})
    assert naming.outputs == {"y": "q"}
    assert [(f.code, f.node) for f in naming.findings] == [("DISTILL-UNPAIRED", "z")]


def test_sets_of_classes_may_differ():
    student, teacher = net("float[N, 4] x", "float[N, 4] y"), net("float[N, 4] x", "float[N, 10] p")
    assert pair_models(student, teacher, {}, {}).outputs == {"y": "p"}


@pytest.mark.parametrize(
    ("teacher", "inputs", "outputs", "word"),
    [
        (("float[N, 4] x,  float[N, 1] more", "float[N, 4] y"), {}, {}, "no input that feeds it"),
        (("float[N, 4] x", "float[N, 4, 2] y"), {}, {}, "sizes are not those"),
        (("float[N, 4] x", "float[N, 4] y"), {"x": "gone"}, {}, "the teacher has no input 'gone'"),
        (("float[N, 4] x", "float[N, 4] y"), {}, {"gone": "y"}, "the student has no output 'gone'"),
    ],
)
def test_what_cannot_be_paired_is_refused_with_both_sides(teacher, inputs, outputs, word):
    with pytest.raises(ModelError, match="do not fit") as caught:
        pair_models(net("float[N, 4] x", "float[N, 4] y"), net(*teacher), inputs, outputs)
    assert word in caught.value.why
    assert "the student has" in caught.value.why
    assert "STUDENT=TEACHER" in caught.value.hint


def test_pairs_are_written_with_an_equals_sign():
    assert parse_pairs(["a=b", "c=d=e"], "--pair") == {"a": "b", "c": "d=e"}
    assert parse_pairs(["a"], "--hint", same=True) == {"a": "a"}
    for wrong in ("a", "=b", "a=", ""):
        with pytest.raises(UsageError, match="no pair") as caught:
            parse_pairs([wrong], "--pair")
        assert caught.value.where == "option --pair"
