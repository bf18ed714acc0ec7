"""Students that another tool cut: which channels they kept, and what their tensors were called."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxcompress import graph
from onnxcompress.data import ArraySource
from onnxcompress.errors import ModelError
from onnxcompress.passes.reconstruct import Reconstruct
from onnxcompress.passes.reconstruction.matching import infer_kept, match_units
from onnxcompress.passes.reconstruction.naming import with_names_of
from onnxcompress.runtime import Session
from onnxcompress.testing import context

A, B, C = [4, 0, 3, 5], [1, 2, 6], [0, 2, 3, 4]  # original channels of conv a, conv b, and the hidden Gemm
TEXT = """<ir_version: 8, opset_import: ["" : 17]> g (float[N,2,6,6] x) => (float[N,3] out) {
  a = Conv<pads=[1,1,1,1]>(x, wa, ba)  ra = Relu(a)
  b = Conv<pads=[1,1,1,1]>(ra, wb)  pb = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b)
  d = Conv<group=GROUP, kernel_shape=[1,1]>(ra, wd)  pd = MaxPool<kernel_shape=[2,2], strides=[2,2]>(d)
  j = Concat<axis=1>(pb, pd)  f = Flatten(j)
  h = Gemm<transB=1>(f, wh, bh)  t = Tanh(h)  out = Gemm<transB=1>(t, wo) }"""


def _weights(a: list[int], b: list[int], c: list[int]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = dict(wa=(6, 2, 3, 3), ba=(6,), wb=(7, 6, 3, 3), wd=(6, 1, 1, 1), wh=(5, 13 * 9), bh=(5,), wo=(3, 5))
    w = {n: generator.normal(size=s).astype(np.float32) / np.sqrt(np.prod(s[1:], initial=1)) for n, s in shapes.items()}
    joined = np.array(b + [7 + i for i in a])
    flat = (joined[:, None] * 9 + np.arange(9)).reshape(-1)
    return dict(
        wa=w["wa"][a], ba=w["ba"][a], wb=w["wb"][b][:, a], wd=w["wd"][a], wh=w["wh"][c][:, flat], bh=w["bh"][c],
        wo=w["wo"][:, c],
    )  # fmt: skip


def _model(a: list[int], b: list[int], c: list[int], names: str = "") -> ir.Model:
    proto = onnx.parser.parse_model(TEXT.replace("GROUP", str(len(a))))
    arrays = {n: v.astype(np.float32) for n, v in _weights(a, b, c).items()}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in arrays.items())
    model = ir.from_proto(proto)
    for node in model.graph if names else ():
        node.outputs[0].name = f"{names}{node.outputs[0].name}"
    return model


def _pair() -> tuple[ir.Model, ir.Model]:
    return _model(A, B, C), _model(list(range(6)), list(range(7)), list(range(5)))


def _tensors(model: ir.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    taps = [v.name for n in model.graph for v in n.outputs]
    return {"x": x, **Session(model, taps=taps).run({"x": x})}


def _infer(student: ir.Model, teacher: ir.Model) -> dict[str, dict[int, list[int]]]:
    x = np.random.default_rng(1).normal(size=(8, 2, 6, 6)).astype(np.float32)
    return infer_kept(student, teacher, _tensors(student, x), _tensors(teacher, x))


def test_channels_are_found_through_every_kind_of_node():
    kept = _infer(*_pair())
    joined = [*B, *(7 + i for i in A)]
    assert kept == {
        "a": {1: A}, "ra": {1: A}, "b": {1: B}, "pb": {1: B}, "d": {1: A}, "pd": {1: A}, "j": {1: joined},
        "f": {1: [i * 9 + k for i in joined for k in range(9)]}, "h": {1: C}, "t": {1: C},
    }  # fmt: skip


def test_weights_that_were_trained_a_little_are_still_found():
    student, teacher = _pair()
    for name in ("wa", "wb", "wh"):
        value = student.graph.initializers[name]
        w = graph.array_of(value)
        noise = 0.1 * w.std() * np.random.default_rng(2).normal(size=w.shape)
        graph.set_constant(value, (w + noise).astype(np.float32))
    kept = _infer(student, teacher)
    assert (kept["a"], kept["b"], kept["h"]) == ({1: A}, {1: B}, {1: C})


def test_where_weights_say_nothing_activations_do():
    """The node that made the tensor is of another kind: only what it gives can be compared."""
    student, teacher = _pair()
    x = np.random.default_rng(1).normal(size=(8, 2, 6, 6)).astype(np.float32)
    ours, theirs = _tensors(student, x), _tensors(teacher, x)
    alone = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2,6,6] x) => (float[N,4,6,6] a) { a = Foo(x) }'
    )
    assert infer_kept(alone, teacher, {"a": ours["a"]}, {"a": theirs["a"]}) == {"a": {1: A}}


def test_what_is_unlike_everything_is_not_guessed():
    student, teacher = _pair()
    generator = np.random.default_rng(5)
    for name in ("wa", "ba", "wb", "wh"):
        value = student.graph.initializers[name]
        graph.set_constant(value, generator.normal(size=graph.array_of(value).shape).astype(np.float32))
    kept = _infer(student, teacher)
    assert "h" not in kept


def test_units_of_a_recurrent_node_are_found_in_each_direction():
    generator = np.random.default_rng(3)
    w, r, b = (generator.normal(size=s).astype(np.float32) for s in ((2, 3 * 5, 4), (2, 3 * 5, 5), (2, 6 * 5)))
    units = np.array([[3, 0, 4], [1, 2, 3]])
    rows = units[:, None, :] + 5 * np.arange(3)[None, :, None]
    cut = {
        "w": np.take_along_axis(w, rows.reshape(2, -1, 1), 1)[:, :, [0, 2]],
        "r": r[:, :9, :3],
        "b": np.concatenate(
            [np.take_along_axis(b[:, s], rows.reshape(2, -1), 1) for s in (slice(15), slice(15, 30))], 1
        ),
    }
    nodes = []
    for arrays, hidden, width in ((dict(w=w, r=r, b=b), 5, 4), (cut, 3, 2)):
        proto = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["" : 17]> g (float[T,N,{width}] x) => (float[T,2,N,{hidden}] y)'
            f'{{ y = GRU<direction="bidirectional", hidden_size={hidden}>(x, w, r, b) }}'
        )
        proto.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in arrays.items()
        )
        nodes.append(next(iter(ir.from_proto(proto).graph)))
    found = match_units(nodes[1], nodes[0], [0, 2])
    np.testing.assert_array_equal(found, units)


@pytest.mark.parametrize("names", ["", "other/"])
def test_a_student_of_another_tool_is_repaired(names):
    student, teacher = _model(A, B, C, names), _pair()[1]
    for model in (student,):
        model.graph.outputs[0].name = f"{names}out"
    x = np.random.default_rng(1).normal(size=(200, 2, 6, 6)).astype(np.float32)
    before = graph.clone(student)
    findings = list(Reconstruct().run(student, context(student, teacher=teacher, data=ArraySource({"x": x}))))
    codes = [f.code for f in findings]
    assert codes[0] == "RECONSTRUCT-INFERRED"
    assert codes.count("RECONSTRUCT-REFITTED") == 5
    fresh = np.random.default_rng(2).normal(size=(50, 2, 6, 6)).astype(np.float32)
    was, now, wanted = (next(iter(Session(m).run({"x": fresh}).values())) for m in (before, student, teacher))
    assert np.square(now - wanted).sum() < 0.5 * np.square(was - wanted).sum()


def test_a_teacher_with_other_inputs_is_refused():
    student, _ = _pair()
    other = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,6,6] x) => (float[N,3,6,6] y) { y = Relu(x) }'
    )
    with pytest.raises(ModelError, match="takes") as caught:
        with_names_of(student, other)
    assert "--teacher" in caught.value.hint


def test_a_teacher_of_another_make_keeps_its_own_names_apart():
    student, _ = _pair()
    other = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2,6,6] z) => (float[N,2,6,6] q) { q = Relu(z) }'
    )
    named = with_names_of(student, other)
    assert [v.name for v in named.graph.inputs] == ["x"]
    assert next(iter(named.graph)).outputs[0].name == "teacher/q"
    assert next(iter(other.graph)).outputs[0].name == "q"
