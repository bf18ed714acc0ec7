from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.equality import difference, run

from onnxcompress.passes.normalize import Normalize
from onnxcompress.testing import assert_pass, context, model_of, normal_text

REWRITES = {
    "a constant node becomes an initializer": (
        "g (float[N,2] x) => (float[N,2] y) { c = Constant<value = float[2] {1, 2}>() y = Add(x, c) }",
        "g (float[N,2] x) => (float[N,2] y) <float[2] c = {1, 2}> { y = Add(x, c) }",
        ["NORMALIZE-LIFTED"],
    ),
    "constant arithmetic is computed": (
        """g (float[N,2] x) => (float[N,2] y) <float[2] a = {1, 2}, float[2] b = {3, 5}>
        { s = Add(a, b) t = Neg(s) y = Mul(x, t) }""",
        "g (float[N,2] x) => (float[N,2] y) <float[2] t = {-4, -7}> { y = Mul(x, t) }",
        ["NORMALIZE-DEAD", "NORMALIZE-FOLDED"],
    ),
    "an output keeps its producer": (
        "g (float[N,2] x) => (float[N,2] x2, float[2] y) <float[2] a = {1, 2}> { x2 = Relu(x) y = Neg(a) }",
        "g (float[N,2] x) => (float[N,2] x2, float[2] y) <float[2] a = {1, 2}> { x2 = Relu(x) y = Neg(a) }",
        [],
    ),
    "the shape of a fixed input is known": (
        """g (float[3,2] x, float[N,2] z) => (float[A,B] y, float[N,2] w) { s = Shape(x) t = Shape(z)
        w = Relu(z) r = Reshape(w, t) q = Reshape(r, s) y = Neg(q) }""",
        """g (float[3,2] x, float[N,2] z) => (float[A,B] y, float[N,2] w) <int64[2] s = {3, 2}> { t = Shape(z)
        w = Relu(z) r = Reshape(w, t) q = Reshape(r, s) y = Neg(q) }""",
        ["NORMALIZE-FOLDED"],
    ),
    "quantization of weights stays visible": (
        """g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}, float s = {0.5}, int8 z = {0}>
        { q = QuantizeLinear(w, s, z) d = DequantizeLinear(q, s, z) y = MatMul(x, d) }""",
        """g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}, float s = {0.5}, int8 z = {0}>
        { q = QuantizeLinear(w, s, z) d = DequantizeLinear(q, s, z) y = MatMul(x, d) }""",
        [],
    ),
    "random numbers stay random": (
        "g (float[2] x) => (float[2] y) <float[2] a = {1, 2}> { r = RandomNormalLike(a) y = Add(x, r) }",
        "g (float[2] x) => (float[2] y) <float[2] a = {1, 2}> { r = RandomNormalLike(a) y = Add(x, r) }",
        [],
    ),
    "integer division that would stop the process": (
        """g (int32[2] x) => (int32[2] y) <int32[2] a = {-2147483648, 1}, int32[2] b = {-1, 0}>
        { d = Div(a, b) y = Add(x, d) }""",
        """g (int32[2] x) => (int32[2] y) <int32[2] a = {-2147483648, 1}, int32[2] b = {-1, 0}>
        { d = Div(a, b) y = Add(x, d) }""",
        [],
    ),
    "identities inside a graph": (
        "g (float[2] x) => (float[2] y) { a = Identity(x) b = Relu(a) c = Identity(b) y = Neg(c) }",
        "g (float[2] x) => (float[2] y) { b = Relu(x) y = Neg(b) }",
        ["NORMALIZE-IDENTITY"],
    ),
    "an identity before an output: the producer yields it": (
        "g (float[2] x) => (float[2] y, float[2] z) { b = Relu(x) y = Identity(b) z = Neg(b) }",
        "g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(y) }",
        ["NORMALIZE-IDENTITY"],
    ),
    "an identity between an input and an output stays": (
        "g (float[2] x) => (float[2] y) { y = Identity(x) }",
        "g (float[2] x) => (float[2] y) { y = Identity(x) }",
        [],
    ),
    "an identity between two outputs stays": (
        "g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Identity(y) }",
        "g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Identity(y) }",
        [],
    ),
    "an identity of an outer value in a branch stays": (
        """g (float[2] x, bool c) => (float[2] y)
        { y = If(c) <then_branch = t () => (float[2] a) { a = Identity(x) },
                    else_branch = e () => (float[2] b) { b = Neg(x) }> }""",
        """g (float[2] x, bool c) => (float[2] y)
        { y = If(c) <then_branch = t () => (float[2] a) { a = Identity(x) },
                    else_branch = e () => (float[2] b) { b = Neg(x) }> }""",
        [],
    ),
    "dropout at inference": (
        """g (float[2] x) => (float[2] y) <float r = {0.5}, bool no = {0}>
        { a = Dropout(x) b = Dropout(a, r, no) y = Neg(b) }""",
        "g (float[2] x) => (float[2] y) { y = Neg(x) }",
        ["NORMALIZE-DEAD", "NORMALIZE-IDENTITY"],
    ),
    "dropout that trains, or whose mask is read": (
        """g (float[2] x) => (float[2] y, bool[2] m) <float r = {0.5}, bool yes = {1}>
        { a, m = Dropout(x) b = Dropout(a, r, yes) y = Neg(b) }""",
        """g (float[2] x) => (float[2] y, bool[2] m) <float r = {0.5}, bool yes = {1}>
        { a, m = Dropout(x) b = Dropout(a, r, yes) y = Neg(b) }""",
        [],
    ),
    "equal weights share one, equal fillings do not": (
        """g (float[N,2] x) => (float[N,2] y) <float[2] a = {1, 2}, float[2] b = {1, 2}, float[2] c = {0, 0},
        float[2] d = {0, 0}, int64[1] k = {1}, int64[1] l = {1}>
        { p = Add(x, a) q = Mul(p, b) r = Add(q, c) s = Sub(r, d) t = Unsqueeze(s, k) y = Squeeze(t, l) }""",
        """g (float[N,2] x) => (float[N,2] y) <float[2] a = {1, 2}, float[2] c = {0, 0}, float[2] d = {0, 0},
        int64[1] k = {1}>
        { p = Add(x, a) q = Mul(p, a) r = Add(q, c) s = Sub(r, d) t = Unsqueeze(s, k) y = Squeeze(t, k) }""",
        ["NORMALIZE-MERGED"],
    ),
    "minus zero is not zero": (
        """g (float[N,2] x) => (float[N,2] y) <float[2] a = {1, 0}, float[2] b = {1, -0.0}>
        { p = Div(x, a) y = Div(p, b) }""",
        """g (float[N,2] x) => (float[N,2] y) <float[2] a = {1, 0}, float[2] b = {1, -0.0}>
        { p = Div(x, a) y = Div(p, b) }""",
        [],
    ),
    "dead nodes go, unused inputs stay": (
        "g (float[2] x, float[2] z) => (float[2] y) <float[2] w = {1, 2}> { y = Relu(x) d = Add(z, w) }",
        "g (float[2] x, float[2] z) => (float[2] y) { y = Relu(x) }",
        ["NORMALIZE-DEAD"],
    ),
    "a default that a caller may override is no constant": (
        """g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}, float[2] b = {3, 4}>
        { n = Neg(w) m = Add(x, b) y = Add(m, n) }""",
        """g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}, float[2] b = {3, 4}>
        { n = Neg(w) m = Add(x, b) y = Add(m, n) }""",
        [],
    ),
    "a settled branch is inlined, names that clash get a number": (
        """g (float[2] x) => (float[2] y, float[2] z) <bool c = {1}> { t = Neg(x)
        y = If(c) <then_branch = t1 () => (float[2] r) { m = Relu(t) r = Abs(m) },
                   else_branch = e1 () => (float[2] r) { m = Exp(t) r = Abs(m) }>
        q = If(c) <then_branch = t2 () => (float[2] r) { m = Tanh(x) r = Abs(m) },
                   else_branch = e2 () => (float[2] r) { r = Identity(t) }>
        z = Add(q, t) }""",
        """g (float[2] x) => (float[2] y, float[2] z) { t = Neg(x) m_1 = Relu(t) y = Abs(m_1)
        m = Tanh(x) r = Abs(m) z = Add(r, t) }""",
        ["NORMALIZE-DEAD", "NORMALIZE-IDENTITY", "NORMALIZE-INLINED"],
    ),
    "a settled branch that hands an outer value on": (
        """g (float[2] x) => (float[2] y) <bool c = {0}> {
        y = If(c) <then_branch = t () => (float[2] r) { r = Relu(x) },
                   else_branch = e () => (float[2] s) { s = Identity(x) }> }""",
        "g (float[2] x) => (float[2] y) { y = Identity(x) }",
        ["NORMALIZE-DEAD", "NORMALIZE-IDENTITY", "NORMALIZE-INLINED"],
    ),
    "nodes of another domain are carried, never computed": (
        """<ir_version: 8, opset_import: ["": 18, "trt": 1]> g (float[2] x) => (float[2] y) <float[2] a = {1, 2}>
        { p = trt.Plugin(a) y = Add(x, p) }""",
        """<ir_version: 8, opset_import: ["": 18, "trt": 1]> g (float[2] x) => (float[2] y) <float[2] a = {1, 2}>
        { p = trt.Plugin(a) y = Add(x, p) }""",
        [],
    ),
}


@pytest.mark.parametrize("name", REWRITES)
def test_rewrites(name: str) -> None:
    before, after, findings = REWRITES[name]
    assert_pass(before, Normalize(), after, findings)


def test_nodes_out_of_order_are_sorted() -> None:
    model = model_of("g (float[2] x) => (float[2] y) { a = Neg(x) y = Relu(a) }")
    ctx, first = context(model), model.graph[0]
    model.graph.remove(first)  # its inputs stay, so it can be put behind its reader
    model.graph.append(first)
    list(Normalize().run(model, ctx))
    assert [node.op_type for node in model.graph] == ["Neg", "Relu"]


def test_a_large_result_is_left_with_a_reason_and_never_computed() -> None:
    text = """g (float[N] x) => (float[N] y) <int64[2] s = {20000, 10000}>
        { big = ConstantOfShape(s) one = ReduceSum<keepdims=0>(big) y = Add(x, one) }"""
    model = model_of(text)
    findings = list(Normalize().run(model, context(model)))
    assert [(f.code, f.node, f.numbers) for f in findings] == [("NORMALIZE-FOLD-SIZE", "big", {"bytes": 800_000_000})]
    assert normal_text(model) == normal_text(model_of(text))


def test_growth_in_small_steps_is_bounded_as_a_whole() -> None:
    steps = " ".join(f"t{n + 1} = Tile(t{n}, k)" for n in range(12))
    text = f"g (float[N,1] x) => (float[N,A] y) <float[1,1024] t0, int64[2] k = {{1, 4}}> {{ {steps} y = Mul(x, t12) }}"
    model = model_of(text.replace("float[1,1024] t0", "float[1,1024] t0 = {" + ",".join(["1"] * 1024) + "}"))
    codes = [f.code for f in Normalize().run(model, context(model))]
    assert "NORMALIZE-FOLD-SIZE" in codes
    assert sum(v.const_value.nbytes for v in model.graph.initializers.values()) <= 1 << 20


def test_a_model_older_than_ir_4_gets_no_plain_constants() -> None:
    text = """<ir_version: 3, opset_import: ["": 7]> g (float[2] x) => (float[2] y)
        { c = Constant<value = float[2] {1, 2}>() i = Identity(x) y = Add(i, c) }"""
    model = model_of(text)
    assert [f.code for f in Normalize().run(model, context(model))] == ["NORMALIZE-IDENTITY"]
    assert [node.op_type for node in model.graph] == ["Constant", "Add"]


def test_folding_and_merging_can_be_switched_off() -> None:
    text = """g (float[N,2] x) => (float[N,2] y) <float[2] a = {1, 2}, float[2] b = {1, 2}>
        { s = Neg(a) p = Mul(x, s) y = Add(p, b) }"""
    assert_pass(text, Normalize(fold=False, merge=False), text)


def test_packed_weights_are_merged_without_being_unpacked() -> None:
    import ml_dtypes

    numbers = np.asarray([[1, -2, 3, 4]], dtype=ml_dtypes.int4)
    model = model_of(
        """<ir_version: 10, opset_import: ["": 21]> g (float[N] x) => (float[1,4] y, float[1,4] z) <float s = {0.5}>
        { y = DequantizeLinear(a, s) z = DequantizeLinear(b, s) r = Relu(x) }"""
    )
    values = {v.name: v for node in model.graph for v in node.inputs if v.name in ("a", "b")}
    for name, value in values.items():
        value.const_value = ir.tensor(numbers, name=name)
        value.type, value.shape = ir.TensorType(ir.DataType.INT4), ir.Shape([1, 4])
        model.graph.register_initializer(value)
    findings = list(Normalize().run(model, context(model)))
    assert [f.code for f in findings] == ["NORMALIZE-DEAD", "NORMALIZE-MERGED"]
    y, z = run(ir.to_proto(model), {"x": np.zeros(1, np.float32)})
    np.testing.assert_array_equal(y, [[0.5, -1, 1.5, 2]])
    assert difference([y], [z]) == ""


def test_the_original_and_its_tensors_are_left_alone() -> None:
    model = model_of("g (float[2] x) => (float[2] y) { c = Constant<value = float[2] {1, 2}>() y = Add(x, c) }")
    before = ir.to_proto(model).SerializeToString()
    copy = model.clone()
    list(Normalize().run(copy, context(copy)))
    ir.to_proto(copy)
    assert ir.to_proto(model).SerializeToString() == before
