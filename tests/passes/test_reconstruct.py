from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from onnxcompress import graph
from onnxcompress.data import ArraySource
from onnxcompress.passes.base import Context, Scope
from onnxcompress.passes.reconstruct import Reconstruct
from onnxcompress.passes.reconstruction.linear import linear_of
from onnxcompress.runtime import Session
from onnxcompress.targets import load_target
from onnxcompress.testing import context

KEPT = [0, 2, 3, 5, 6]


def _teacher(seed: int = 0) -> ir.Model:
    """Conv -> Relu -> Conv -> Add(shortcut) -> Relu -> GlobalAveragePool -> Flatten -> Gemm, all weights random."""
    generator = np.random.default_rng(seed)
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[N, 3, 8, 8] x) => (float[N, 4] out)
    {
       h0 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
       a0 = Relu (h0)
       h1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a0, w1)
       a1 = Relu (h1)
       h2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a1, w2, b2)
       s = Add (h2, a0)
       a2 = Relu (s)
       p = GlobalAveragePool (a2)
       f = Flatten (p)
       out = Gemm <transB = 1> (f, w3, b3)
    }
    """
    model = ir.from_onnx_text(text)
    shapes = dict(w0=(6, 3, 3, 3), b0=(6,), w1=(8, 6, 3, 3), w2=(6, 8, 3, 3), b2=(6,), w3=(4, 6), b3=(4,))
    values = {v.name: v for node in model.graph for v in node.inputs if v is not None and v.producer() is None}
    for name, shape in shapes.items():
        array = (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:], initial=1.0))).astype(np.float32)
        value = values[name]
        value.const_value, value.shape = ir.tensor(array, name=name), ir.Shape(array.shape)
        value.type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.register_initializer(value)
    return model


def _cut(teacher: ir.Model) -> ir.Model:
    """The inner channels of the block reduced to KEPT, as prune-channels does it."""
    student = graph.clone(teacher)
    weights = student.graph.initializers
    for name, axis in (("w1", 0), ("w2", 1)):
        whole = graph.array_of(weights[name])
        assert whole is not None
        graph.set_constant(weights[name], np.ascontiguousarray(np.take(whole, KEPT, axis)))
    student.meta["onnxcompress.kept"] = {n: {1: KEPT} for n in ("h1", "a1")}
    return student


def _context(teacher: ir.Model, **changes: Any) -> Context:
    x = np.random.default_rng(1).normal(size=(120, 3, 8, 8)).astype(np.float32)
    given: dict[str, Any] = {"data": ArraySource({"x": x}), **changes}
    return Context(original=teacher, teacher=teacher, target=load_target("ort-cpu"), **given)


def _error(model: ir.Model, teacher: ir.Model) -> float:
    x = np.random.default_rng(9).normal(size=(64, 3, 8, 8)).astype(np.float32)
    ours, theirs = (Session(m).run({"x": x})["out"] for m in (model, teacher))
    return float(np.square(ours - theirs).sum() / np.square(theirs).sum())


def test_a_cut_model_comes_closer_to_its_teacher() -> None:
    teacher = _teacher()
    student = _cut(teacher)
    before = _error(student, teacher)
    findings = list(Reconstruct().run(student, _context(teacher)))
    assert _error(student, teacher) < before / 3
    assert findings[-1].code == "RECONSTRUCT-DONE"
    assert [f.code for f in findings].count("RECONSTRUCT-REFITTED") == 4


def test_an_untouched_model_keeps_its_bytes() -> None:
    teacher = _teacher()
    student = graph.clone(teacher)
    list(Reconstruct().run(student, _context(teacher)))
    for name, value in student.graph.initializers.items():
        assert np.array_equal(graph.array_of(value), graph.array_of(teacher.graph.initializers[name]))
    assert set(student.graph.initializers) == set(teacher.graph.initializers)


def test_unknown_channels_are_left_alone_with_a_reason() -> None:
    teacher = _teacher()
    student = _cut(teacher)
    student.meta.clear()
    strange = np.random.default_rng(8).normal(size=(5, 6, 3, 3)).astype(np.float32)
    graph.set_constant(student.graph.initializers["w1"], strange)
    findings = {f.node: f for f in Reconstruct().run(student, _context(teacher)) if f.node}
    alone = [f for f in findings.values() if f.code == "RECONSTRUCT-NO-TARGET"]
    assert len(alone) == 1
    assert "which were kept" in alone[0].message


def test_scope_is_honoured() -> None:
    teacher = _teacher()
    student = _cut(teacher)
    findings = list(Reconstruct().run(student, _context(teacher, scope=Scope(only=("op:Gemm",)))))
    assert [f.code for f in findings] == ["RECONSTRUCT-REFITTED", "RECONSTRUCT-DONE"]


def test_a_repair_that_does_harm_is_undone() -> None:
    """The last layer is excluded, and the teacher's tensor that the block is fitted to is not what its output needs."""
    teacher = _teacher()
    student = _cut(teacher)
    before = {n: graph.array_of(v) for n, v in student.graph.initializers.items()}
    twisted = graph.clone(teacher)
    values = {v.name: v for node in twisted.graph for v in node.outputs}
    values["s"].name, values["h0"].name = "elsewhere", "s"
    findings = list(Reconstruct().run(student, _context(twisted, scope=Scope(only=("h2",)))))
    assert [f.code for f in findings] == ["RECONSTRUCT-REFITTED", "RECONSTRUCT-UNDONE"]
    for name, value in student.graph.initializers.items():
        assert np.array_equal(graph.array_of(value), before[name])


@pytest.mark.parametrize("count", [1])
def test_one_sample_is_too_few(count: int) -> None:
    teacher = _teacher()
    data = ArraySource({"x": np.zeros((count, 3, 8, 8), np.float32)})
    findings = list(Reconstruct().run(_cut(teacher), _context(teacher, data=data)))
    assert [f.code for f in findings] == ["RECONSTRUCT-TOO-FEW"]


def test_the_same_seed_gives_the_same_bytes() -> None:
    teacher = _teacher()
    students = [_cut(teacher) for _ in range(2)]
    for student in students:
        list(Reconstruct().run(student, _context(teacher)))
    for name, value in students[0].graph.initializers.items():
        assert np.array_equal(graph.array_of(value), graph.array_of(students[1].graph.initializers[name]))


def _small(body: str, shapes: dict[str, tuple[int, ...]], header: str = '"" : 17') -> ir.Model:
    proto = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{header}]> {body}")
    generator = np.random.default_rng(3)
    arrays = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return ir.from_proto(proto)


@pytest.mark.parametrize(
    ("text", "shapes", "code"),
    [
        (
            """g (float[N,8] x) => (float[N,4] y, seq(float[N,1]) q) {
              a = MatMul(x, w0) r = Relu(a) y = MatMul(r, w1) q = SplitToSequence<axis=1, keepdims=1>(r) }""",
            {"w0": (8, 6), "w1": (6, 4)},
            "RECONSTRUCT-REFITTED",
        ),
        (
            "g (float[N,8] x) => (float[N,4] y) { a = MatMul(x, w0) y = MatMul(a, w1) }",
            {"w0": (8, 0), "w1": (0, 4)},
            "RECONSTRUCT-SKIPPED",
        ),
        (
            """g (float[N,8] x) => (float[N,4] y) {
              a = MatMul(x, w0) r = acme.Foo(a) s = MatMul(a, w1) y = MatMul(r, w2) }""",
            {"w0": (8, 6), "w1": (6, 4), "w2": (6, 4)},
            "RECONSTRUCT-NO-TARGET",
        ),
    ],
    ids=["sequence output", "no elements", "after a node that is not run"],
)
def test_models_with_odd_parts_are_refitted_where_they_can_be(text, shapes, code):
    model = _small(text, shapes, '"" : 17, "acme" : 1')
    data = ArraySource({"x": np.random.default_rng(2).normal(size=(40, 8)).astype(np.float32)})
    findings = list(Reconstruct().run(graph.clone(model), context(model, data=data)))
    assert code in {f.code for f in findings}
    assert findings[-1].code == "RECONSTRUCT-DONE"


def test_a_convolution_whose_groups_do_not_divide_its_channels_is_left():
    text = "g (float[N,4,5,5] x) => (float[N,8,3,3] y) { y = Conv<group=3>(x, w0) }"
    node = next(iter(_small(text, {"w0": (8, 2, 3, 3)}).graph))
    assert linear_of(node, 0) == "its channels do not divide into its groups"


def test_a_bias_before_a_norm_goes_into_its_mean():
    """No parameter is added where the normalisation that follows can take it."""
    text = """g (float[N,4,5,5] x) => (float[N,3,5,5] y) {
      c = Conv<kernel_shape=[1,1]>(x, w0) y = BatchNormalization(c, s, b, m, v) }"""
    shapes = {"w0": (3, 4, 1, 1), "s": (3,), "b": (3,), "m": (3,), "v": (3,)}
    model = _small(text, shapes)
    graph.set_constant(model.graph.initializers["v"], np.ones(3, np.float32))
    node = next(iter(model.graph))
    linear = linear_of(node, 0)
    matrix = linear.matrix()
    matrix[:, -1] = [[1.0, -2.0, 0.5]]
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 5)).astype(np.float32)
    before = Session(model).run({"x": x})["y"]
    linear.store(matrix)
    scale = graph.array_of(model.graph.initializers["s"]) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(
        Session(model).run({"x": x})["y"] - before,
        np.broadcast_to((scale * [1.0, -2.0, 0.5]).reshape(1, 3, 1, 1), before.shape),
        atol=1e-5,
    )
    assert len(node.inputs) == 2
