from __future__ import annotations

import pytest
from builders.placements import lines, model_with, placed, plan_of, reasons, scales

CONV = "Conv<pads=[1,1,1,1]>"
W = (16, 16, 3, 3)


def check(body: str, after: str, target: str = "tensorrt", shape: str = "N,16,8,8", **sizes: tuple[int, ...]) -> None:
    model = model_with(f"g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}", sizes)
    assert placed(model, target) == lines(after)


def test_nothing_stands_inside_of_what_is_fused_behind_a_convolution() -> None:
    check(
        f"a = {CONV}(x, w)  b = Relu(a)  c = Mul(b, k)  d = {CONV}(c, v)  y = Relu(d)",
        """x' = QDQ(x)
        a = Conv(x', w')
        b = Relu(a)
        c = Mul(b, k)
        c' = QDQ(c)
        d = Conv(c', v')
        y = Relu(d)""",
        w=W, v=W, k=(16, 1, 1),
    )  # fmt: skip


def test_of_a_residual_addition_only_the_skip_reads_a_pair() -> None:
    check(
        f"a = {CONV}(x, w)  b = Relu(a)  c = {CONV}(b, v)  d = Add(c, b)  e = Relu(d)  y = {CONV}(e, u)",
        """x' = QDQ(x)
        a = Conv(x', w')
        b = Relu(a)
        b' = QDQ(b)
        c = Conv(b', v')
        d = Add(c, b')
        e = Relu(d)
        e' = QDQ(e)
        y = Conv(e', u')""",
        w=W, v=W, u=W,
    )  # fmt: skip


def test_of_two_branches_the_longer_is_the_backbone_even_where_it_forks() -> None:
    """The longer branch comes second, and has a gate whose fork hides its length from a walk along first inputs."""
    check(
        f"s = {CONV}(x, w)  a = {CONV}(x, v)  m = GlobalAveragePool(a)  h = Conv(m, u)  g = Sigmoid(h)"
        f"  b = Mul(a, g)  c = {CONV}(b, t)  d = Add(s, c)  y = {CONV}(d, r)",
        """x' = QDQ(x)
        s = Conv(x', w')
        s' = QDQ(s)
        a = Conv(x', v')
        a' = QDQ(a)
        m = GlobalAveragePool(a')
        m' = QDQ(m)
        h = Conv(m', u')
        g = Sigmoid(h)
        g' = QDQ(g)
        b = Mul(a', g')
        b' = QDQ(b)
        c = Conv(b', t')
        d = Add(s', c)
        d' = QDQ(d)
        y = Conv(d', r')""",
        w=W, v=W, u=(16, 16, 1, 1), t=W, r=W,
    )  # fmt: skip


def test_a_silu_belongs_to_its_convolution() -> None:
    check(
        f"a = {CONV}(x, w)  g = Sigmoid(a)  b = Mul(a, g)  c = {CONV}(b, v)  h = Sigmoid(c)  d = Mul(c, h)"
        f"  e = Add(b, d)  y = {CONV}(e, u)",
        """x' = QDQ(x)
        a = Conv(x', w')
        g = Sigmoid(a)
        b = Mul(a, g)
        b' = QDQ(b)
        c = Conv(b', v')
        h = Sigmoid(c)
        d = Mul(c, h)
        e = Add(b', d)
        e' = QDQ(e)
        y = Conv(e', u')""",
        w=W, v=W, u=W,
    )  # fmt: skip


def test_an_addition_of_the_graphs_input_is_no_residual_and_one_that_makes_an_output_stays_float() -> None:
    check(
        f"a = {CONV}(x, w)  b = Add(a, x)  c = {CONV}(b, v)  y = Add(c, b)",
        """x' = QDQ(x)
        a = Conv(x', w')
        a' = QDQ(a)
        b = Add(a', x')
        b' = QDQ(b)
        c = Conv(b', v')
        y = Add(c, b)""",
        w=W, v=W,
    )  # fmt: skip


def test_pools_read_a_pair_behind_a_convolution_and_before_one_through_data_movement() -> None:
    body = f"""a = {CONV}(x, w)  b = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)  c = Transpose<perm=[0,1,3,2]>(b)
      y = {CONV}(c, v)"""
    model = model_with(f"g (float[N,16,8,8] x) => (float[N,16,4,4] y) {{ {body} }}", {"w": W, "v": W})
    assert placed(model, "tensorrt") == lines(
        """x' = QDQ(x)
        a = Conv(x', w')
        a' = QDQ(a)
        b = MaxPool(a')
        c = Transpose(b)
        c' = QDQ(c)
        y = Conv(c', v')"""
    )


def test_a_pool_far_from_integers_stays_float() -> None:
    body = "a = Relu(x)  b = MaxPool<kernel_shape=[1,1]>(a)  y = Relu(b)"
    model = model_with(f"g (float[N,16,8,8] x) => (float[N,16,8,8] y) {{ {body} }}", {})
    assert plan_of(model, "tensorrt").pairs == {}


def test_concat_shares_one_scale_among_its_inputs_and_output() -> None:
    body = f"a = {CONV}(x, w)  b = Relu(a)  c = {CONV}(b, v)  d = Concat<axis=1>(b, c)  y = {CONV}(d, u)"
    model = model_with(
        f"g (float[N,16,8,8] x) => (float[N,16,8,8] y) {{ {body} }}", {"w": W, "v": W, "u": (16, 32, 3, 3)}
    )
    assert scales(model, "tensorrt") == {frozenset("bd")}
    assert scales(model, "openvino") == set()


def test_a_resize_and_a_normalization_behind_a_convolution_read_a_pair() -> None:
    text = f"""g (float[N,16,8,8] x) => (float[N,16,16,16] y) <float[4] k = {{1.0, 1.0, 2.0, 2.0}}> {{
      a = {CONV}(x, w)  b = Relu(a)  c = Resize<mode="nearest">(b, , k)  y = {CONV}(c, v) }}"""
    sizes = {"w": W, "v": W}
    model = model_with(text, sizes)
    assert "c = Resize(b', , k)" in placed(model, "tensorrt")
    assert "c = Resize(b, , k)" in placed(model_with(text, sizes), "openvino")
    text = f"""g (float[N,16,8,8] x) => (float[N,8,8,16] y) {{
      a = {CONV}(x, w)  b = Transpose<perm=[0,2,3,1]>(a)  c = LayerNormalization(b, s)  y = MatMul(c, v) }}"""
    after = placed(model_with(text, {"w": W, "s": (16,), "v": (16, 16)}), "tensorrt")
    assert "c = LayerNormalization(b', s)" in after and "b = Transpose(a)" in after


def test_nothing_stands_inside_of_a_gelu_or_a_layer_normalization() -> None:
    check(
        """h = MatMul(x, w)  a = Div(h, k)  e = Erf(a)  o = Add(e, one)  m = Mul(h, o)  n = Mul(m, half)
        z = MatMul(n, v)  mean = ReduceMean<keepdims=1>(z, last)  d = Sub(z, mean)  s = Mul(d, d)
        var = ReduceMean<keepdims=1>(s, last)  q = Sqrt(var)  r = Div(d, q)  y = MatMul(r, u)""".replace(
            ", last", ""
        ),
        """x' = QDQ(x)
        h = MatMul(x', w')
        a = Div(h, k)
        e = Erf(a)
        o = Add(e, one)
        m = Mul(h, o)
        n = Mul(m, half)
        n' = QDQ(n)
        z = MatMul(n', v')
        mean = ReduceMean(z)
        d = Sub(z, mean)
        s = Mul(d, d)
        var = ReduceMean(s)
        q = Sqrt(var)
        r = Div(d, q)
        r' = QDQ(r)
        y = MatMul(r', u')""",
        shape="N,32,32", w=(32, 32), v=(32, 32), u=(32, 32), k=(), one=(), half=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "channels", "kernel", "group", "first", "left"),
    [
        (16, 16, (3, 3), 1, False, False),
        (8, 3, (3, 3), 1, True, False),  # a first layer of a multiple of 8
        (12, 3, (3, 3), 1, True, True),
        (8, 8, (3, 3), 1, False, True),  # no side of 16
        (16, 8, (3, 3), 1, False, False),
        (16, 8, (3, 1), 1, False, True),  # not square
        (16, 1, (3, 3), 16, False, False),  # depthwise
        (16, 1, (1, 1), 16, False, True),
        (12, 1, (3, 3), 12, False, True),
    ],
)
def test_narrow_convolutions_stay_float_on_tensorrt(
    filters: int, channels: int, kernel: tuple[int, int], group: int, first: bool, left: bool
) -> None:
    before = "" if first else "z = Relu(x)"
    source = "x" if first else "z"
    body = f"{before} y = Conv<group={group}>({source}, w)"
    model = model_with(
        f"g (float[N,{channels * group},8,8] x) => (float[N,{filters},h,k] y) {{ {body} }}",
        {"w": (filters, channels, *kernel)},
    )
    assert reasons(model, "tensorrt") == ({"y": "QUANT-TOO-SMALL"} if left else {})
    assert reasons(model, "openvino") == {}


@pytest.mark.parametrize(
    ("rows", "inner", "columns", "left"),
    [("N", 32, 32, False), (1, 32, 32, True), (4, 8, 32, True), (4, 32, 10, True), (4, 32, 16, False)],
)
def test_small_products_stay_float_on_tensorrt(rows: int | str, inner: int, columns: int, left: bool) -> None:
    model = model_with(
        f"g (float[{rows},{inner}] x) => (float[{rows},{columns}] y) {{ y = MatMul(x, w) }}", {"w": (inner, columns)}
    )
    assert reasons(model, "tensorrt") == ({"y": "QUANT-TOO-SMALL"} if left else {})


ATTENTION = """g (float[N,L,32] x, float[N,L,L] mask) => (float[N,L,32] y) {
  q = MatMul(x, w)  k = MatMul(x, v)  t = Transpose<perm=[0,2,1]>(k)  s = MatMul(q, t)  d = Mul(s, scale)
  SUM  p = Softmax(s)  y = MatMul(p, x) }"""


@pytest.mark.parametrize(
    ("length", "masked", "left"),
    [(64, False, {}), (64, True, {"s", "y"}), (512, False, {}), (513, False, {"s", "y"}), ("L", False, {})],
)
def test_attention_on_tensorrt(length: int | str, masked: bool, left: set[str]) -> None:
    text = ATTENTION.replace("L", str(length)).replace("Softmax(s)", "Softmax(a)" if masked else "Softmax(d)")
    text = text.replace("SUM", "a = Add(d, mask)" if masked else "")
    model = model_with(text, {"w": (32, 32), "v": (32, 32), "scale": ()})
    assert reasons(model, "tensorrt") == dict.fromkeys(left, "QUANT-ATTENTION")


def test_openvino_takes_int8_with_zero_point_0_between_two_activations() -> None:
    text = """g (float[N,8,32] x, float[N,32,8] z) => (float[N,8,32] y) {
      a = MatMul(x, z)  h = Relu(a)  b = MatMul(h, w)  y = Relu(b) }"""
    model = model_with(text, {"w": (8, 32)})
    assert plan_of(model, "openvino").kinds == {"x": ("int8", True), "z": ("int8", True)}
    assert plan_of(model, "tensorrt").kinds == {}
