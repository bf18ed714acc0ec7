from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx.checker
import onnx_ir as ir
import pytest
from builders.quantized_models import KINDS, RESIDUAL, TRANSPOSED, constants, error, float_model, quantized, samples

from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.errors import ModelError, UsageError
from onnxcompress.graph import array_of, clone
from onnxcompress.passes.base import Context, Effect, Pass, Scope
from onnxcompress.passes.correct_bias import CorrectBias
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.rounding.correction import correct_bias
from onnxcompress.passes.quantize_weights import QuantizeWeights
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.testing import check_pass, context


def corrected(student: ir.Model, teacher: ir.Model, **options) -> tuple[ir.Model, list[Finding]]:
    copy, data = clone(student), options.pop("data", None) or samples(teacher)
    findings = correct_bias(copy, teacher, ArraySource(data), context(copy, teacher=teacher, **options))
    onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    return copy, findings


def codes(findings: list[Finding]) -> list[str]:
    return [f.code for f in findings]


@pytest.mark.parametrize("kind", ["conv", "no bias", "grouped"])
def test_weights_behind_cast_and_mul_are_seen(kind):
    teacher = float_model(KINDS[kind])
    student = clone(teacher)
    list(QuantizeWeights().run(student, context(student, target="ort-x86-vnni")))
    assert [n.op_type for n in student.graph][:3] == ["Cast", "Mul", "Conv"]
    assert codes(corrected(student, teacher)[1]) == ["BIAS-CORRECTED", "BIAS-DONE"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_node_gets_the_mean_of_its_teacher(kind):
    teacher = float_model(KINDS[kind])
    student = quantized(teacher, bits=3)
    after, findings = corrected(student, teacher)
    assert codes(findings) == ["BIAS-CORRECTED", "BIAS-DONE"]
    feeds = samples(teacher)
    ours, theirs = (Session(m).run(feeds)["y"] for m in (after, teacher))
    axis = 1 if theirs.ndim != 3 or kind == "one axis" else 2
    others = tuple(i for i in range(theirs.ndim) if i != axis)
    was = np.abs(Session(student).run(feeds)["y"].mean(axis=others) - theirs.mean(axis=others)).sum()
    now = np.abs(ours.mean(axis=others) - theirs.mean(axis=others)).sum()
    assert now < 0.6 * was
    assert error(after, teacher) < error(student, teacher)


def test_transposed_convolutions_and_weights_alone():
    teacher = float_model(TRANSPOSED)
    student = clone(teacher)
    list(QuantizeWeights(clip="none").run(student, context(student, target="openvino")))
    assert not [f for f in corrected(student, teacher)[1] if f.code == "BIAS-UNDONE"]
    shifted = clone(student)
    bias = next(v for v in shifted.graph.initializers.values() if v.name == "b")
    bias.const_value = ir.tensor(array_of(bias) + np.float32(0.3), name="b")
    after, findings = corrected(shifted, teacher)
    assert codes(findings) == ["BIAS-CORRECTED", "BIAS-DONE"]
    np.testing.assert_allclose(array_of(after.graph.initializers["b"]), array_of(bias) - 0.3, atol=0.01)


def test_only_biases_change_and_their_scale_stays_that_of_the_accumulator():
    teacher = float_model(RESIDUAL)
    student = quantized(teacher, bits=4)
    after, _ = corrected(student, teacher)
    before, now = constants(student), constants(after)
    changed = {name for name in before if not np.array_equal(before[name], now[name])}
    assert changed and changed <= {f"b{i}_quantized" for i in range(1, 5)} and set(now) == set(before)
    assert error(after, teacher) < 0.7 * error(student, teacher)


def test_a_bias_that_is_not_there_is_made_as_the_target_wants_it():
    teacher = float_model(KINDS["no bias"])
    for target, kind in (("ort-cpu", np.int32), ("openvino", np.float32)):
        student = quantized(teacher, bits=3, target=target)
        after, findings = corrected(student, teacher, target=target)
        assert "BIAS-DONE" in codes(findings)
        conv = next(n for n in after.graph if n.op_type == "Conv")
        maker = conv.inputs[2].producer()
        if kind is np.float32:
            assert maker is None and array_of(conv.inputs[2]).dtype == np.float32
            continue
        numbers, scale = (array_of(v) for v in maker.inputs)
        values = after.graph.initializers
        assert numbers.dtype == np.int32
        np.testing.assert_array_equal(scale, array_of(values["x_scale"]) * array_of(values["w_scale"]))


def test_a_product_without_a_sum_has_no_place():
    teacher = float_model(("y = MatMul(x, w)", {"w": (12, 5)}, (6, 12)))
    student = quantized(teacher, bits=3)
    after, findings = corrected(student, teacher)
    assert codes(findings) == ["BIAS-NO-PLACE", "BIAS-UNCHANGED"]
    assert model_io.to_bytes(after) == model_io.to_bytes(student)


def test_the_shortcut_is_made_up_for():
    """The target of the node before a residual Add is the teacher's sum less the student's shortcut."""
    teacher = float_model(RESIDUAL)
    student = quantized(teacher, bits=3)
    whole, _ = corrected(student, teacher)
    alone, _ = corrected(student, teacher, scope=Scope(exclude=("c1", "c2")))
    tensors = [Session(m, taps=["s"]).run(samples(teacher))["s"].mean(axis=(0, 2, 3)) for m in (alone, teacher)]
    np.testing.assert_allclose(*tensors, atol=0.02)
    assert error(whole, teacher) < error(student, teacher)


def test_scope_is_respected():
    teacher = float_model(RESIDUAL)
    student = quantized(teacher, bits=4)
    after, findings = corrected(student, teacher, scope=Scope(only=("c2",)))
    assert [f.node for f in findings if f.node] == ["c2"]
    before, now = constants(student), constants(after)
    assert {n for n in before if not np.array_equal(before[n], now[n])} <= {"b2_quantized"}


def test_what_cannot_be_done_is_said_and_changes_nothing():
    teacher = float_model(RESIDUAL)
    plain, findings = corrected(teacher, teacher)
    assert codes(findings) == ["BIAS-NOTHING"] and model_io.to_bytes(plain) == model_io.to_bytes(teacher)
    student = quantized(teacher, bits=4)
    one = {"x": samples(teacher)["x"][:1]}
    few, findings = corrected(student, teacher, data=one)
    assert codes(findings) == ["BIAS-TOO-FEW"] and model_io.to_bytes(few) == model_io.to_bytes(student)


def test_a_teacher_that_does_not_match_is_refused_or_left():
    teacher = float_model(RESIDUAL)
    student = quantized(teacher, bits=4)
    with pytest.raises(ModelError, match="quantized too") as caught:
        corrected(student, student)
    assert caught.value.code == "MODEL-TEACHER-QUANTIZED" and "--teacher" in caught.value.hint
    with pytest.raises(ModelError) as caught:
        corrected(student, float_model(KINDS["gemm"]))
    assert caught.value.code == "MODEL-TEACHER-INPUTS"
    other = float_model(("z = Sigmoid(x) m = GlobalAveragePool(z) y = Flatten(m)", {}, (3, 10, 10)))
    after, findings = corrected(student, other)
    assert set(codes(findings)) == {"BIAS-NO-TARGET", "BIAS-UNCHANGED"}
    assert model_io.to_bytes(after) == model_io.to_bytes(student)


def test_a_correction_that_does_not_help_is_undone(monkeypatch):
    from onnxcompress.passes.quantization.rounding import judging

    errors = iter([0.1, 0.2])
    monkeypatch.setattr(judging, "output_error", lambda *_: next(errors))
    teacher = float_model(KINDS["no bias"])
    student = quantized(teacher, bits=3)
    after, findings = corrected(student, teacher)
    assert codes(findings)[-1] == "BIAS-UNDONE" and model_io.to_bytes(after) == model_io.to_bytes(student)


def test_too_few_samples_are_a_usage_error():
    with pytest.raises(UsageError, match="--samples 1"):
        CorrectBias(samples=1).check()


@dataclass(frozen=True, kw_only=True)
class _QuantizeAndCorrect(Pass):
    """Insert Q/DQ, then correct biases."""

    name: ClassVar[str] = "quantize-and-correct"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "always"

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        found = list(InsertQDQ(effort="fast").run(model, ctx))
        return [*found, *CorrectBias(samples=16).run(model, ctx)]


@pytest.mark.ci
def test_the_passes_keep_what_every_pass_owes():
    assert check_pass(_QuantizeAndCorrect()).findings["BIAS-CORRECTED"] > 5
    check_pass(CorrectBias())
