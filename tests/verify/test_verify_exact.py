from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.runtime_models import detector, linear, normal, parsed

from onnxcompress.graph import clone
from onnxcompress.verify import VerifyFailure, check_exact, comparable, tolerance_of


def scaled(kind: str, factor: float) -> ir.Model:
    dtype = {"float": np.float32, "float16": np.float16, "double": np.float64}[kind]
    return parsed(f"g ({kind}[N,50] x, {kind} k) => ({kind}[N,50] y) {{ y = Mul(x, k) }}", k=np.array(factor, dtype))


@pytest.mark.parametrize(
    ("kind", "within", "beyond"), [("float", 1.00005, 1.0005), ("float16", 1.005, 1.05), ("double", 1.0000005, 1.00001)]
)
def test_tolerances_go_by_type(kind, within, beyond):
    check_exact(scaled(kind, 1.0), scaled(kind, within))
    with pytest.raises(VerifyFailure, match="other numbers") as caught:
        check_exact(scaled(kind, 1.0), scaled(kind, beyond))
    assert caught.value.where == "tensor y"


def test_figures_for_the_report():
    found = check_exact(linear(), clone(linear()))
    assert found == {"max_abs": 0.0, "relative": 0.0, "tolerance": 1e-4, "probes": 2, "tensors": 1}


def test_a_second_batch_only_where_it_is_free():
    fixed = parsed("g (float[1,4] x) => (float[1,4] y) { y = Neg(x) }")
    assert check_exact(fixed, clone(fixed))["probes"] == 1


def test_a_batch_written_into_the_graph_is_found():
    before = parsed("g (float[N,4] x, int64[2] s) => (float[N,4] y) { y = Reshape(x, s) }", s=np.array([-1, 4]))
    after = parsed("g (float[N,4] x, int64[2] s) => (float[N,4] y) { y = Reshape(x, s) }", s=np.array([2, 4]))
    with pytest.raises(Exception, match=r"reshape|Reshape"):
        check_exact(before, after)


def test_nan_in_both_is_equal():
    model = parsed("g (float[N,4] x) => (float[N,4] y) { a = Neg(x) b = Abs(a) c = Neg(b) y = Log(c) }")
    assert check_exact(model, clone(model))["max_abs"] == 0


def test_indices_are_compared_at_the_floats_before_them():
    text = "g (float[N,40] x, float k) => (int64[N] best) { s = Mul(x, k) best = ArgMax<axis=1, keepdims=0>(s) }"
    before, after = (parsed(text, k=np.array(k, np.float32)) for k in (1.0, -1.0))
    assert comparable(before) == ["s"]
    with pytest.raises(VerifyFailure) as caught:
        check_exact(before, after)
    assert caught.value.where == "tensor s"


def test_what_hangs_on_a_jump_is_not_compared():
    model = parsed("""g (float[N,4] x) => (float[N,4] y, float[N,4] z) {
        a = Neg(x) i = Round(a) y = Exp(i) z = Abs(a)
    }""")
    assert comparable(model) == ["a", "z"]


def test_shape_arithmetic_is_no_jump():
    model = parsed(
        """g (float[N,4] x, int64 two) => (float[N,2,2] y) {
        s = Shape<end=1>(x) n = Squeeze(s) big = Greater(n, two) c = Cast<to=7>(big)
        t = Constant<value_ints=[-1,2,2]>() y = Reshape(x, t) d = Cast<to=1>(c)
    }""",
        two=np.array(2),
    )
    assert comparable(model) == ["y"]


def test_random_operators_are_left_out_with_a_reason():
    model = parsed("g (float[N,4] x) => (float[N,4] y) { r = RandomNormalLike(x) y = Add(x, r) }")
    assert check_exact(model, clone(model)) == {"skipped": "VERIFY-RANDOM", "tensors": 0}


def quantized(shift: int = 0, scale: float = 0.1) -> ir.Model:
    text = """g (float[N,500] x, float s, uint8 z, float zero) => (float[N,500] y) {
        b = Add(x, zero) q = QuantizeLinear(b, s, z) y = DequantizeLinear(q, s, z)
    }"""
    constants = {
        "s": np.array(scale, np.float32),
        "z": np.array(128, np.uint8),
        "zero": np.array(shift * scale, np.float32),
    }
    return parsed(text, **constants)


def test_quantized_models_may_be_off_by_one_step():
    assert tolerance_of(quantized()).within == 0.999
    check_exact(quantized(), quantized(shift=1))
    with pytest.raises(VerifyFailure, match="quantized"):
        check_exact(quantized(), quantized(shift=2))


def test_a_mixed_model_takes_its_coarsest_type():
    text = "g (float[N,4] x) => (float[N,4] y) { h = Cast<to=10>(x) r = Relu(h) y = Cast<to=1>(r) }"
    assert tolerance_of(parsed(text)).dtype == "float16"


def test_a_plugin_is_checked_up_to_it():
    model = detector()
    assert check_exact(model, clone(model))["tensors"] == 2


def test_another_shape_or_type_is_a_failure():
    before = parsed("g (float[N,4] x) => (float[] y) { y = Neg(x) }")
    after = parsed("g (float[N,4] x) => (float[] y) { a = Neg(x) y = Flatten<axis=0>(a) }")
    with pytest.raises(VerifyFailure, match="became"):
        check_exact(before, after)


def test_integers_must_be_equal():
    text = "g (int64[N,4] x, int64 k) => (int64[N,4] y) { y = Add(x, k) }"
    before, after = (parsed(text, k=np.array(k)) for k in (1, 2))
    with pytest.raises(VerifyFailure, match="integers differ"):
        check_exact(before, after)


def test_weights_that_differ_are_found():
    other = linear()
    other.graph.initializers["w"].const_value = ir.tensor(normal(4, 3, seed=1))
    with pytest.raises(VerifyFailure, match="up to"):
        check_exact(linear(), other)


def test_where_inputs_go_straight_into_indices_those_are_compared():
    text = "g (float[N,40] x) => (int64[N] best) { best = ArgMax<axis=1, keepdims=0>(x) }"
    assert comparable(parsed(text)) == []
    assert check_exact(parsed(text), parsed(text))["tensors"] == 1
    with pytest.raises(VerifyFailure, match="integers differ"):
        check_exact(parsed(text), parsed(text.replace("ArgMax", "ArgMin")))


def saturated(offset: float, factor: float = 1.0) -> ir.Model:
    text = "g (float[N,50] x, float k, float o) => (float[N,50] y) { s = Mul(x, k) t = Sub(s, o) y = Sigmoid(t) }"
    return parsed(text, k=np.array(factor, np.float32), o=np.array(offset, np.float32))


def test_a_sigmoid_that_is_near_zero_everywhere_is_compared_before_it():
    assert comparable(saturated(20.0)) == ["t", "y"]
    check_exact(saturated(20.0), saturated(20.0002))  # y moves by 2e-4 of itself, 1e-9 of one
    with pytest.raises(VerifyFailure) as caught:
        check_exact(saturated(20.0), saturated(20.0, 1.1))
    assert caught.value.where == "tensor t"
