from __future__ import annotations

import onnx_ir as ir
import onnxruntime as ort
import pytest
from builders.placements import lines, model_with, placed, plan_of, reasons, scales

CONV = "Conv<pads=[1,1,1,1]>"
W = (16, 16, 3, 3)


def check(body: str, after: str, target: str = "ort-x86-vnni", **sizes: tuple[int, ...]) -> None:
    model = model_with(f"g (float[N,16,8,8] x) => (float[N,16,8,8] y) {{ {body} }}", sizes)
    assert placed(model, target) == lines(after)


def test_products_and_what_stands_between_them_have_pairs_on_both_sides() -> None:
    check(
        f"a = {CONV}(x, w)  b = Relu(a)  c = {CONV}(b, v)  d = Add(c, b)  e = Relu(d)  y = {CONV}(e, u)",
        """x' = QDQ(x)
        a = Conv(x', w')
        b = Relu(a)
        b' = QDQ(b)
        c = Conv(b', v')
        c' = QDQ(c)
        d = Add(c', b')
        e = Relu(d)
        e' = QDQ(e)
        y_float = Conv(e', u')
        y = QDQ(y_float)""",
        w=W, v=W, u=W,
    )  # fmt: skip


def test_a_silu_runs_on_integers_between_two_convolutions() -> None:
    check(
        f"a = {CONV}(x, w)  g = Sigmoid(a)  b = Mul(a, g)  c = {CONV}(b, v)  y = Erf(c)",
        """x' = QDQ(x)
        a = Conv(x', w')
        a' = QDQ(a)
        g = Sigmoid(a')
        g' = QDQ(g)
        b = Mul(a', g')
        b' = QDQ(b)
        c = Conv(b', v')
        c' = QDQ(c)
        y = Erf(c')""",
        w=W, v=W,
    )  # fmt: skip


def test_what_no_integer_kernel_reads_stays_float() -> None:
    check(
        f"a = {CONV}(x, w)  b = Sigmoid(a)  c = Erf(b)  d = Concat<axis=1>(c, x)  y = {CONV}(d, v)",
        """x' = QDQ(x)
        a = Conv(x', w')
        a' = QDQ(a)
        b = Sigmoid(a')
        c = Erf(b)
        d = Concat(c, x)
        d' = QDQ(d)
        y_float = Conv(d', v')
        y = QDQ(y_float)""",
        w=W, v=(16, 32, 3, 3),
    )  # fmt: skip


def test_data_movement_shares_the_scale_and_concat_does_not() -> None:
    body = f"""a = {CONV}(x, w)  b = MaxPool<kernel_shape=[1,1]>(a)  c = Transpose<perm=[0,1,3,2]>(b)
      d = Concat<axis=1>(c, x)  y = {CONV}(d, v)"""
    model = model_with(f"g (float[N,16,8,8] x) => (float[N,16,8,8] y) {{ {body} }}", {"w": W, "v": (16, 32, 3, 3)})
    assert scales(model, "ort-x86-vnni") == {frozenset("abc")}
    assert scales(model, "generic") == {frozenset("abcdx")}


def test_without_a_grid_that_cuts_at_zero_the_pair_stands_before_the_activation() -> None:
    check(
        f"a = {CONV}(x, w)  b = Relu(a)  y = {CONV}(b, v)",
        """x' = QDQ(x)
        a = Conv(x', w')
        a' = QDQ(a)
        b = Relu(a')
        b' = QDQ(b)
        y_float = Conv(b', v')
        y = QDQ(y_float)""",
        target="generic", w=W, v=W,
    )  # fmt: skip


def test_an_island_behind_a_convolution_keeps_it_float() -> None:
    body = f"a = {CONV}(x, w)  b = Relu(a)  y = {CONV}(b, v)"
    model = model_with(f"g (float[N,16,8,8] x) => (float[N,16,8,8] y) {{ {body} }}", {"w": W, "v": W})
    assert reasons(model, "ort-x86-vnni", ("b",)) == {"a": "QUANT-ISLAND", "y": "QUANT-ISLAND"}
    assert plan_of(model, "ort-x86-vnni", ("b",)).pairs == {}


MOVEMENT = {"r": "Reshape(c, shape)", "t": "Transpose<perm=[0,2,3,1]>(c)", "p": "MaxPool<kernel_shape=[2,2]>(c)"}


@pytest.mark.parametrize("opset", [20, 21])
@pytest.mark.parametrize("name", MOVEMENT)
@pytest.mark.parametrize("target", ["generic", "ort-arm"])
def test_int8_before_data_movement_loads_at_every_operator_set(target: str, name: str, opset: int) -> None:
    body = f"""g (float[N,16,8,8] x) => (float[N,D,E,F] y) <int64[4] shape = {{0, 4, 4, 64}}> {{
        c = {CONV}(x, w)  {name} = {MOVEMENT[name]}  y = Erf({name}) }}"""
    model = model_with(body, {"w": W}, opset)
    after = placed(model, target)
    assert (f"{name}' = QDQ({name})" in after) == (opset == 21)
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])


def test_what_int8_data_movement_behind_a_convolution_makes_shares_its_scale() -> None:
    body = f"a = {CONV}(x, w)  t = Transpose<perm=[0,2,3,1]>(a)  y = MaxPool<kernel_shape=[2,2]>(t)"
    model = model_with(f"g (float[N,16,8,8] x) => (float[N,8,7,15] y) {{ {body} }}", {"w": W}, 21)
    assert scales(model, "generic") == {frozenset({"a", "t", "y"})}
