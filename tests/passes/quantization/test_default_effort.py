"""What the default effort adds to calibrate and write: thrift, islands, repairs under a judge, and that it says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress.api import quantize
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
    judge = Judge(teacher, context_.data, RuntimeOptions(threads=1), unseen=True)

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


def _told(model: ir.Model, data: dict[str, np.ndarray], code: str, **options) -> list:
    return [f for f in _quantized(model, data, **options)[1] if f.code == code]


def test_the_judge_says_what_its_samples_had_a_part_in() -> None:
    model = _model("g (float[N,32] x) => (float[N,8] y) { h = MatMul(x, v) y = Relu(h) }", {"v": (32, 8)})
    apart, shared = (_told(model, _samples(32, count=n), "QUANT-JUDGED")[0] for n in (40, 12))
    assert apart.numbers["unseen"] == 1 and "chose between the last steps" in apart.message
    assert shared.numbers["unseen"] == 0 and "12 samples of the calibration themselves" in shared.message
    assert not any("nothing was chosen on" in told.message for told in (apart, shared))


def test_a_share_of_unchanged_classes_is_told_only_of_an_output_of_samples_and_classes() -> None:
    flat = _model("g (float[N,32] x) => (float[N,8] y) { h = MatMul(x, v) y = Relu(h) }", {"v": (32, 8)})
    picture = _model("g (float[N,8,6,6] x) => (float[N,8,6,6] y) { y = Conv(x, v) }", {"v": (8, 8, 1, 1)})
    with_classes, without = (
        _told(m, _samples(*shape, count=20), "QUANT-JUDGED")[0] for m, shape in ((flat, (32,)), (picture, (8, 6, 6)))
    )
    assert "agreement" in with_classes.numbers and "largest output" in with_classes.message
    assert "agreement" not in without.numbers and "largest output" not in without.message


@pytest.mark.parametrize("effort", ["default", "best"])
def test_samples_that_only_measure_choose_nothing(effort: str, tmp_path: Path) -> None:
    model = _model("g (float[N,32] x) => (float[N,8] y) { h = MatMul(x, v) y = Relu(h) }", {"v": (32, 8)})
    data, files = _samples(32, count=40), []
    for scale in (1.0, 50.0):
        measuring = {"x": scale * RNG.normal(size=(10, 32)).astype(np.float32)}
        result = quantize(model, data=data, eval_data=measuring, effort=effort, target="ort-x86-vnni")
        files.append(tmp_path / f"{scale}.onnx")
        result.save(files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()


UNEVEN = """g (float[N,16,8,8] x) => (float[N,8,8,8] y) {
  a = Conv<kernel_shape=[1,1]>(x, w1)  ra = Relu(a)
  d = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=32>(ra, w2)  rd = Relu(d)
  y = Conv<kernel_shape=[1,1]>(rd, w3) }"""


def _uneven() -> tuple[ir.Model, dict[str, np.ndarray]]:
    """A depthwise layer whose channels differ a thousandfold in weight, and the reverse in what they are fed."""
    model = _model(UNEVEN, {"w1": (32, 16, 1, 1), "w2": (32, 1, 3, 3), "w3": (8, 32, 1, 1)})
    factors = np.logspace(-1.5, 1.5, 32, dtype=np.float32).reshape(-1, 1, 1, 1)
    for name, factor in (("w1", factors), ("w2", 1 / factors)):
        value = model.graph.initializers[name]
        value.const_value = ir.tensor(value.const_value.numpy() * factor, name=name)
    return model, _samples(16, 8, 8, count=24)


def test_with_one_scale_a_layer_the_default_equalizes_and_says_what_it_brought() -> None:
    model, data = _uneven()
    steps = [f for f in _told(model, data, "QUANT-STEP", per_channel=False) if "equalization" in f.message]
    assert len(steps) == 1 and steps[0].numbers["kept"] == 1
    assert steps[0].numbers["after_db"] > steps[0].numbers["before_db"] + 10


def test_equalization_is_tried_at_the_best_effort_where_each_channel_has_its_scale_and_not_before() -> None:
    model, data = _uneven()
    for effort, tried in (("fast", 0), ("default", 0), ("best", 1)):
        steps = _told(model, data, "QUANT-STEP", effort=effort)
        assert sum("equalization" in f.message for f in steps) == tried
        assert sum("weight rounding" in f.message for f in steps) == tried
