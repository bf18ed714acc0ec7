"""What the default effort adds to calibrate and write: thrift, islands, repairs under a judge, and that it says so."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress.graph import clone
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.judge import Judge, Verdict
from onnxcompress.passes.quantization.mending import attempt
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.sensitivity.profit import profit
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context

RNG = np.random.default_rng(5)
DEPTHWISE = """g (float[N,64,16,16] x) => (float[N,64,16,16] y) {
  a = Conv<kernel_shape=[1,1]>(x, w1)  ha = HardSwish(a)
  d = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=64>(ha, w2)  hd = HardSwish(d)
  y = Conv<kernel_shape=[1,1]>(hd, w3) }"""
SIZES = {"w1": (64, 64, 1, 1), "w2": (64, 1, 3, 3), "w3": (64, 64, 1, 1)}


def _model(text: str, sizes: dict[str, tuple[int, ...]]) -> ir.Model:
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + text)
    arrays = {n: (RNG.normal(size=s) * 0.2).astype(np.float32) for n, s in sizes.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return ir.from_proto(proto)


def _samples(*shape: int, count: int = 20) -> dict[str, np.ndarray]:
    return {"x": RNG.normal(size=(count, *shape)).astype(np.float32)}


def _quantized(model: ir.Model, data: dict[str, np.ndarray], target: str = "ort-x86-vnni", **options):
    student = clone(model)
    return student, list(InsertQDQ(**options).run(student, context(student, data=data, target=target)))


def test_what_integers_slow_down_stays_float_and_says_what_it_would_have_cost() -> None:
    model, data = _model(DEPTHWISE, SIZES), _samples(64, 16, 16)
    quantized, findings = _quantized(model, data)
    told = [f for f in findings if f.code == "QUANT-NO-GAIN"]
    assert {f.node for f in told} & {"ha", "d"} and all(f.numbers["time"] < 0 for f in told)
    assert next(n for n in quantized.graph if n.op_type == "Conv" and n.outputs[0].name == "d").inputs[0].name == "ha"


def test_without_a_table_of_prices_and_with_fast_nothing_is_left_for_times_sake() -> None:
    model, data = _model(DEPTHWISE, SIZES), _samples(64, 16, 16)
    for target, effort in (("generic", "default"), ("ort-x86-vnni", "fast")):
        assert "QUANT-NO-GAIN" not in [f.code for f in _quantized(model, data, target, effort=effort)[1]]


def test_never_is_everything_left_and_a_model_that_gains_nothing_says_so() -> None:
    model = _model("g (float[N,8] x) => (float[N,8] y) { h = MatMul(x, v) y = Relu(h) }", {"v": (8, 8)})
    data = _samples(8)
    draft = Draft.begin(clone(model), context(model, data=data, target="ort-x86-vnni"), InsertQDQ())
    found = profit(draft.request, draft.plan)
    assert found.tensors == () and place(draft.request).linear
    assert "QUANT-NOT-FASTER" in [f.code for f in _quantized(model, data)[1]]


def test_the_judge_reports_on_samples_that_calibration_did_not_use() -> None:
    model = _model("g (float[N,32] x) => (float[N,8] y) { h = MatMul(x, v) y = Relu(h) }", {"v": (32, 8)})
    data = _samples(32, count=50)
    draft = Draft.begin(model, context(model, data=data), InsertQDQ())
    used, judged = (part.read(range(len(part)))["x"] for part in (draft.calibration, draft.judging))
    assert len(used) + len(judged) == 50 and not (used[:, None] == judged[None]).all(axis=2).any()
    told = [f for f in _quantized(model, data)[1] if f.code == "QUANT-JUDGED"]
    assert len(told) == 1 and told[0].numbers["samples"] == len(judged) and told[0].numbers["error_db"] > 25


@pytest.mark.parametrize(("shift", "kept"), [(0.0, True), (0.5, False)])
def test_a_step_stays_only_where_the_judge_finds_the_outputs_nearer(shift: float, kept: bool) -> None:
    teacher = _model("g (float[N,4] x) => (float[N,4] y) { y = Add(x, b) }", {"b": (4,)})
    student = clone(teacher)
    value = student.graph.initializers["b"]
    right = value.const_value.numpy().copy()
    value.const_value = ir.tensor(right + np.float32(0.1), name="b")
    context_ = context(teacher, data=_samples(4))
    judge = Judge(teacher, context_.data, RuntimeOptions(threads=1))

    def step(model: ir.Model) -> list:
        model.graph.initializers["b"].const_value = ir.tensor(right + np.float32(shift), name="b")
        return []

    before = judge.look_at(student)
    after, findings = attempt("a step", step, student, judge, before)
    assert (after.error < before.error) is kept and findings[-1].numbers["kept"] == int(kept)
    assert np.allclose(student.graph.initializers["b"].const_value.numpy(), right + (0 if kept else 0.1))


def test_a_nearer_model_that_costs_a_class_is_not_better() -> None:
    assert Verdict(0.01, 1.0).better_than(Verdict(0.02, 1.0))
    assert not Verdict(0.01, 0.9).better_than(Verdict(0.02, 1.0))


def test_recurrent_weights_of_a_model_without_anything_else_become_int8_and_their_cost_is_told() -> None:
    text = """g (float[T,N,16] x) => (float[T,1,N,24] y) { y = LSTM<hidden_size=24>(x, w, r) }"""
    model = _model(text, {"w": (1, 96, 16), "r": (1, 96, 24)})
    data = {"x": RNG.normal(size=(12, 6, 16)).astype(np.float32)}
    quantized, findings = _quantized(model, data)
    kinds = {v.const_value.dtype for v in quantized.graph.initializers.values() if v.const_value.size > 300}
    assert kinds == {ir.DataType.INT8}
    step = next(f for f in findings if f.code == "QUANT-STEP")
    assert "LSTM" in step.message and step.numbers["after_db"] > 20
