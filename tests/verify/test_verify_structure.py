from __future__ import annotations

import onnx_ir as ir
import pytest
from builders.runtime_models import detector, linear, normal, parsed

from onnxcompress.verify import VerifyFailure, check_interface, check_structure, checker_complaint


def test_a_sound_model_passes_without_notes():
    assert check_structure(linear()) == []


def test_what_the_checker_refuses_is_a_failure():
    model = linear()
    node = model.graph.node(0)
    node.attributes["colour"] = ir.AttrInt64("colour", 1)
    with pytest.raises(VerifyFailure, match="colour") as caught:
        check_structure(model)
    assert caught.value.code == "VERIFY-CHECKER"


def test_shapes_that_contradict_are_a_failure():
    model = linear()
    model.graph.outputs[0].shape = ir.Shape(["N", 7])
    assert "7" in checker_complaint(model)


def test_what_onnx_runtime_does_not_load_is_a_failure():
    text = "g (double[N,3,8,8] x, double[4,3,3,3] w) => (double[N,4,6,6] y) { [tiny] y = Conv(x, w) }"
    with pytest.raises(VerifyFailure, match="does not load") as caught:
        check_structure(parsed(text))
    assert caught.value.where == "node tiny"
    assert caught.value.exit_code == 1


def test_a_plugin_is_noted_and_the_rest_is_checked():
    assert [note.code for note in check_structure(detector())] == ["RUNTIME-UNKNOWN-OP"]


def test_large_weights_are_checked_by_shape_alone(monkeypatch):
    monkeypatch.setattr("onnxcompress.verify.structure._LIGHT_BYTES", 8)
    assert checker_complaint(linear()) == ""
    assert "w" in [value.name for value in linear().graph.initializers.values()]


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ("g (float[N,4] x) => (float[N,4] z) { z = Neg(x) }", "VERIFY-NAMES"),
        ("g (float[N,4] w) => (float[N,4] y) { y = Neg(w) }", "VERIFY-NAMES"),
        ("g (float16[N,4] x) => (float16[N,4] y) { y = Neg(x) }", "VERIFY-DTYPE"),
        ("g (float[N,4,1] x) => (float[N,4,1] y) { y = Neg(x) }", "VERIFY-RANK"),
        ("g (float[N,5] x) => (float[N,5] y) { y = Neg(x) }", "VERIFY-DIMS"),
        ("g (float[M,4] x) => (float[M,4] y) { y = Neg(x) }", "VERIFY-DIMS"),
        ("g (float[2,4] x) => (float[2,4] y) { y = Neg(x) }", "VERIFY-DIMS"),
    ],
)
def test_interface_must_not_move(after, code):
    before = parsed("g (float[N,4] x) => (float[N,4] y) { y = Neg(x) }")
    with pytest.raises(VerifyFailure) as caught:
        check_interface(before, parsed(after))
    assert caught.value.code == code


def test_the_same_interface_passes_with_other_insides():
    before = parsed("g (float[N,4] x) => (float[N,4] y) { y = Neg(x) }")
    check_interface(before, parsed("g (float[N,4] x) => (float[N,4] y) { a = Abs(x) y = Relu(a) }"))


def test_initializers_that_are_inputs_may_become_constants():
    text = "g (float[N,4] x, float[4,3] w) => (float[N,3] y) { y = MatMul(x, w) }"
    before = parsed(text, w=normal(4, 3))
    before.graph.inputs.append(before.graph.initializers["w"])
    check_interface(before, parsed(text, w=normal(4, 3)))
