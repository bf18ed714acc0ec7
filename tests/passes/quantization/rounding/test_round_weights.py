from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx.checker
import onnx_ir as ir
import pytest
from builders.quantized_models import (
    KINDS,
    OPTIONS,
    RESIDUAL,
    TRANSPOSED,
    coarsen,
    constants,
    error,
    float_model,
    quantized,
    samples,
)

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.errors import ModelError, UsageError
from onnxcompress.graph import array_of, clone
from onnxcompress.passes.base import Context, Effect, Pass, Scope
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.rounding.correction import correct_bias
from onnxcompress.passes.quantization.rounding.layer_rounding import Task
from onnxcompress.passes.quantization.rounding.nearest_plane import Levels
from onnxcompress.passes.quantization.rounding.rounding import round_weights
from onnxcompress.passes.quantization.rounding.rows import Part
from onnxcompress.passes.quantize_weights import QuantizeWeights
from onnxcompress.passes.round_weights import RoundWeights
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.testing import check_pass, context


def refined(student: ir.Model, teacher: ir.Model, rescale: bool = False, **options) -> tuple[ir.Model, list[Finding]]:
    copy, data = clone(student), ArraySource(options.pop("data", None) or samples(teacher))
    findings = round_weights(copy, teacher, data, context(copy, teacher=teacher, **options), rescale=rescale)
    onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    return copy, findings


def codes(findings: list[Finding]) -> list[str]:
    return [f.code for f in findings]


def changed(before: ir.Model, after: ir.Model) -> set[str]:
    was, now = constants(before), constants(after)
    return {name for name in now if name not in was or not np.array_equal(was[name], now[name])}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_node_comes_closer_to_its_teacher(kind):
    teacher = float_model(KINDS[kind])
    student = quantized(teacher, bits=3)
    biased = clone(student)
    correct_bias(biased, teacher, ArraySource(samples(teacher)), context(biased, teacher=teacher))
    after, findings = refined(student, teacher)
    assert codes(findings) == ["ROUND-ROUNDED", "ROUND-DONE"]
    assert error(after, teacher) <= error(biased, teacher) * 1.01  # 9 taps of one channel have little to make up with
    assert error(after, teacher) < 0.7 * error(student, teacher)
    scales = {name for name in changed(student, after) if name.endswith(("_scale", "_zero_point"))}
    assert scales <= {"a_bias_scale", "y_bias_scale"}  # that of a bias that was not there before
    numbers = array_of(after.graph.initializers["w_quantized"])
    assert numbers.dtype == np.int8 and np.abs(numbers).max() <= 7


def test_transposed_convolution_and_weights_alone():
    teacher = float_model(TRANSPOSED)
    student = clone(teacher)
    list(QuantizeWeights().run(student, context(student)))
    scale = student.graph.initializers["w_scale"]
    values = student.graph.initializers["w_quantized"]
    values.const_value = ir.tensor(np.round(array_of(values) / 127.0 * 7).astype(np.int8), name=values.name)
    scale.const_value = ir.tensor((array_of(scale) * np.float32(127 / 7)).astype(np.float32), name=scale.name)
    after, findings = refined(student, teacher)
    assert codes(findings) == ["ROUND-ROUNDED", "ROUND-DONE"]
    assert error(after, teacher) < 0.7 * error(student, teacher)


def test_only_integers_and_biases_change():
    teacher = float_model(RESIDUAL)
    student = quantized(teacher, bits=4)
    after, _ = refined(student, teacher)
    touched = changed(student, after)
    assert {"w1_quantized", "w2_quantized", "w3_quantized", "w4_quantized"} <= touched
    assert touched <= {f"{kind}{i}_quantized" for kind in "wb" for i in range(1, 5)}
    assert error(after, teacher) < 0.35 * error(student, teacher)


def test_scales_may_change_where_that_is_allowed_and_the_bias_follows():
    teacher = float_model(RESIDUAL)
    student = quantized(teacher, bits=3)
    plain, _ = refined(student, teacher)
    after, _ = refined(student, teacher, rescale=True)
    assert error(after, teacher) < error(plain, teacher)
    values = after.graph.initializers
    for i, x in zip(range(1, 5), ("x", "r1", "r2", "m"), strict=True):
        assert f"w{i}_scale" in changed(student, after)
        scale = array_of(values[f"{x}_scale"]) * array_of(values[f"w{i}_scale"])
        np.testing.assert_array_equal(array_of(values[f"b{i}_scale"]), scale)


def test_a_model_on_the_grid_already_keeps_its_bytes():
    """The teacher's weights are the dequantized ones, activations stay float: nothing can be gained."""
    teacher = float_model(KINDS["conv"])
    student = clone(teacher)
    list(QuantizeWeights().run(student, context(student)))
    exact = clone(teacher)
    weights, scale = (array_of(student.graph.initializers[f"w_{part}"]) for part in ("quantized", "scale"))
    value = exact.graph.initializers["w"]
    value.const_value = ir.tensor((weights * scale.reshape(-1, 1, 1, 1)).astype(np.float32), name="w")
    after, findings = refined(student, exact)
    assert not changed(student, after) & {"w_quantized"}
    assert codes(findings)[-1] in ("ROUND-UNCHANGED", "ROUND-DONE", "ROUND-UNDONE")


def test_a_shared_weight_stays_and_its_readers_biases_do_not():
    body = "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) c = Conv<pads=[1,1,1,1]>(r, w, d) y = Relu(c)"
    teacher = float_model((body, {"w": (4, 4, 3, 3), "b": (4,), "d": (4,)}, (4, 6, 6)))
    student = quantized(teacher, bits=3)
    after, findings = refined(student, teacher)
    assert set(codes(findings)) <= {"BIAS-CORRECTED", "BIAS-KEPT", "ROUND-DONE"} and "BIAS-CORRECTED" in codes(findings)
    assert "w_quantized" not in changed(student, after)


def test_scope_is_respected():
    teacher = float_model(RESIDUAL)
    student = quantized(teacher, bits=4)
    after, findings = refined(student, teacher, scope=Scope(exclude=("c2", "op:Gemm")))
    assert [f.node for f in findings if f.node] == ["c1", "c3"]
    assert changed(student, after) <= {"w1_quantized", "w3_quantized", "b1_quantized", "b3_quantized"}


def test_layers_too_wide_for_the_ceiling_are_solved_in_blocks():
    generator = np.random.default_rng(0)
    rows = (generator.normal(size=(1, 400, 24)) @ generator.normal(size=(24, 24)) + 1.0).astype(np.float32)
    weight = generator.normal(size=(1, 24, 5))
    scale = np.broadcast_to(np.abs(weight).max(axis=1, keepdims=True) / 3, weight.shape)
    nearest = np.clip(np.round(weight / scale), -3, 3) * scale
    fit, judge = (Part(p, (p @ weight).astype(np.float32)) for p in (rows[:, :300], rows[:, 300:]))
    task = Task(fit, judge, nearest, weight, Levels(scale, np.array(-3.0), np.array(3.0)), free=False)
    whole, blocks = task.choose(), replace(task, memory=8 * 6 * 10**2).choose()
    assert (whole.blocks, blocks.blocks) == (1, 3)
    assert whole.after < blocks.after < 0.8 * whole.before


def test_what_cannot_be_done_is_said_and_changes_nothing():
    teacher = float_model(RESIDUAL)
    plain, findings = refined(teacher, teacher)
    assert codes(findings) == ["ROUND-NOTHING"] and model_io.to_bytes(plain) == model_io.to_bytes(teacher)
    student = quantized(teacher, bits=4)
    with pytest.raises(ModelError, match="quantized too"):
        refined(student, student)
    other = float_model(("z = Sigmoid(x) m = GlobalAveragePool(z) y = Flatten(m)", {}, (3, 10, 10)))
    after, findings = refined(student, other)
    assert set(codes(findings)) == {"ROUND-NO-TARGET", "ROUND-UNCHANGED"}
    assert model_io.to_bytes(after) == model_io.to_bytes(student)
    with pytest.raises(UsageError, match="--samples 1"):
        RoundWeights(samples=1).check()


def test_rounding_that_does_not_help_is_undone(monkeypatch):
    from onnxcompress.passes.quantization.rounding import judging

    errors = iter([0.1, 0.2])
    monkeypatch.setattr(judging, "output_error", lambda *_: next(errors))
    teacher = float_model(KINDS["no bias"])
    student = quantized(teacher, bits=3)
    after, findings = refined(student, teacher, rescale=True)
    assert codes(findings)[-1] == "ROUND-UNDONE" and model_io.to_bytes(after) == model_io.to_bytes(student)


@dataclass(frozen=True, kw_only=True)
class _QuantizeAndRound(Pass):
    """Insert Q/DQ, then round weights."""

    name: ClassVar[str] = "quantize-and-round"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "always"
    rescale: bool = False

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        found = list(InsertQDQ(islands="0", evaluations=0).run(model, ctx))
        return [*found, *RoundWeights(samples=16, rescale=self.rescale).run(model, ctx)]


def test_the_pass_alone_keeps_what_every_pass_owes():
    check_pass(RoundWeights())


@pytest.mark.ci
@pytest.mark.parametrize("rescale", [False, True])
def test_the_pass_behind_a_quantizer_keeps_what_every_pass_owes(rescale):
    assert check_pass(_QuantizeAndRound(rescale=rescale)).findings["ROUND-ROUNDED"] > 5


@pytest.mark.data
def test_a_real_network_in_four_bits_keeps_its_answers():
    folder = Path(os.environ["ONNXCOMPRESS_TEST_DATA"])
    with np.load(folder / "data" / "fashion_mnist.npz") as archive:
        pictures, test = (
            {"input": ((archive[part][:count, None] / 255.0 - 0.286) / 0.353).astype(np.float32)}
            for part, count in (("x_train", 200), ("x_test", 1000))
        )
    passes = [oc.Normalize(), oc.FoldBatchNorm()]
    teacher = oc.PassManager(passes).run(str(folder / "models" / "fmnist_resnet8.onnx")).model
    student = clone(teacher)
    list(InsertQDQ(islands="0", evaluations=0).run(student, context(student, data=pictures)))
    coarsen(student, 7)
    rounded, _ = refined(student, teacher, data=pictures)
    sessions = [Session(model, OPTIONS) for model in (teacher, student, rounded)]
    answers = [next(iter(session.run(test).values())).argmax(axis=1) for session in sessions]
    nearest, second = ((answer == answers[0]).mean() for answer in answers[1:])
    assert nearest < 0.92
    assert second > 0.98
