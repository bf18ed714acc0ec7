from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.runtime_models import detector, linear, normal, parsed

from onnxcompress.shapes import infer, types
from onnxcompress.shapes.branches import taken_branches


def test_static_and_batch_axes_by_inference_alone():
    table = infer(linear())
    assert table.dims("logits") == ("N", 3)
    assert table.probe("logits") == (2, 3)
    assert table.dtype("logits") == ir.DataType.FLOAT
    assert table.dims("w") == (4, 3)
    assert (table.batch, table.batch_names) == (2, ("N",))
    assert table.dims("nowhere") is None


def reshaped() -> ir.Model:
    text = """g (float[N,6] x, int64[1] two) => (float[N,B,C] y) {
        n = Shape<end=1>(x)
        rest = Shape<start=1>(x)
        half = Div(rest, two)
        s = Concat<axis=0>(n, half, two)
        z = Reshape(x, s)
        y = Relu(z)
    }"""
    return parsed(text, two=np.array([2]))


def test_what_inference_leaves_open_is_observed():
    text = "g (float[N,4] x, bool[4] keep) => (float[N,C] y) { c = Compress<axis=1>(x, keep) y = Relu(c) }"
    model = parsed(text, keep=np.array([True, False, True, True]))
    table = infer(model)
    assert table.probe("c") == (2, 3)
    assert table.dims("c") == ("N", 3)


def test_values_of_small_integer_tensors_on_demand():
    table = infer(reshaped(), values=True)
    np.testing.assert_array_equal(table.value("s"), [2, 3, 2])
    assert table.dims("y") == ("N", 3, 2)
    assert infer(linear()).value("s") is None


def test_an_axis_that_follows_another_free_size_stays_open_or_symbolic():
    model = parsed(
        "g (float[N,3,H] x) => (float[N,3,K] y) { p = MaxPool<kernel_shape=[2], strides=[2]>(x) y = Neg(p) }"
    )
    table = infer(model)
    assert table.dims("p") == ("N", 3, None)
    assert table.probe("p") == (2, 3, 16)
    named = infer(model, symbolic=True).dims("p")
    assert named is not None
    assert "H" in str(named[2])


def test_stale_declared_shapes_are_not_trusted():
    model = linear()
    model.graph.append(ir.Node("", "Relu", [model.graph.outputs[0]]))
    model.graph.outputs[0].shape = ir.Shape([7, 9])
    assert infer(model).probe("logits") == (2, 3)


def test_user_shapes_set_the_probe():
    table = infer(linear(), shapes={"x": (5, 4)})
    assert (table.batch, table.probe("logits")) == (5, (5, 3))


def test_what_comes_before_a_plugin_is_known():
    table = infer(detector())
    assert table.probe("scores") == (2, 4, 6, 6)
    assert table.probe("boxes") is None
    assert [note.code for note in table.notes] == ["RUNTIME-UNKNOWN-OP"]


def branching() -> ir.Model:
    return parsed(
        """g (float[N,4] x, bool c, float[4,3] w) => (float[N,3] y) {
        y = If (c) <
            then_branch = t () => (float[N,3] a) { n = Neg(x) m = NonZero(n) a = MatMul(n, w) },
            else_branch = e () => (float[N,3] b) { n = Abs(x) b = MatMul(n, w) }
        >
    }""",
        w=normal(4, 3),
    )


@pytest.mark.parametrize("taken", [True, False])
def test_the_branch_that_is_taken_is_laid_open(taken):
    feeds = {"x": normal(2, 4), "c": np.array(taken)}
    flat = taken_branches(branching(), feeds)
    kinds = [node.op_type for node in flat.graph]
    assert "If" not in kinds
    assert ("Neg" in kinds) == taken
    assert [value.name for value in flat.graph.outputs] == ["y"]


def test_tensors_in_branches_are_known():
    table = infer(branching())
    assert table.probe("a") == (2, 3)
    assert table.probe("n") == (2, 4)


def test_types_need_no_run():
    kinds = types(parsed("g (float[N,4] x) => (int64[N] y) { s = Shape(x) y = ArgMax<axis=1, keepdims=0>(x) }"))
    assert kinds["s"] == ir.DataType.INT64
    assert kinds["y"] == ir.DataType.INT64


def test_many_tensors_are_observed_in_chunks(monkeypatch):
    monkeypatch.setattr("onnxcompress.shapes.observe.TAPS_PER_RUN", 3)
    chain = " ".join(f"c{i + 1} = Compress<axis=1>(c{i}, keep)" for i in range(8))
    text = f"g (float[N,4] x, bool[4] keep) => (float[N,C] y) {{ c0 = Neg(x) {chain} y = Relu(c8) }}"
    table = infer(parsed(text, keep=np.array([True] * 4)))
    assert all(table.dims(f"c{i}") == ("N", 4) for i in range(9))


def test_a_model_that_cannot_be_fed_is_known_by_inference_alone():
    text = "g (string[N] words, float[N,4] x, float[4,3] w) => (float[N,3] y, string[N] same)"
    table = infer(parsed(f"{text} {{ y = MatMul(x, w) same = Identity(words) }}", w=normal(4, 3)))
    assert table.dims("y") == ("N", 3)
    assert table.probe("y") is None
    assert [note.code for note in table.notes] == ["SHAPES-NO-PROBE"]
