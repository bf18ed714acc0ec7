from __future__ import annotations

import pytest
from builders.placements import lines, model_with, placed, plan_of, reasons, scales

from onnxcompress.targets import target_names

BODY = """g (float[N,16,8,8] x) => (float[N,16,8,8] y) {
  a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  s = Add(r, k)  t = Transpose<perm=[0,1,3,2]>(s)  e = Erf(t)
  y = Softmax<axis=1>(e) }"""
SIZES = {"w": (16, 16, 3, 3), "b": (16,), "k": (16, 1, 1)}


@pytest.mark.parametrize("target", ["qnn", "mobile"])
def test_every_tensor_between_known_operators_has_a_pair(target: str) -> None:
    assert placed(model_with(BODY, SIZES), target) == lines(
        """x' = QDQ(x)
        a = Conv(x', w', b')
        r = Relu(a)
        r' = QDQ(r)
        s = Add(r', k')
        s' = QDQ(s)
        t = Transpose(s')
        t' = QDQ(t)
        e = Erf(t')
        e' = QDQ(e)
        y_float = Softmax(e')
        y = QDQ(y_float)"""
    )


def test_data_movement_shares_one_scale() -> None:
    assert scales(model_with(BODY, SIZES), "qnn") == {frozenset("st")}


def test_an_island_keeps_what_reads_it_float() -> None:
    model = model_with(BODY, SIZES)
    assert reasons(model, "qnn", ("r",)) == {"a": "QUANT-ISLAND"}
    assert set(plan_of(model, "qnn", ("s",)).pairs) == {"x", "r", "e", "y"}


def test_a_mask_of_huge_numbers_sets_no_range() -> None:
    text = """g (float[N,8] x) => (float[N,8] y) <float[1] big = {-1e38}> {
      h = MatMul(x, w)  m = Mul(h, big)  y = Softmax(m) }"""
    model = model_with(text, {"w": (8, 8)})
    assert plan_of(model, "qnn").constants == []
    assert "m = Mul(h', big)" in placed(model, "qnn")


def test_only_convolutions_have_a_scale_a_channel_on_qnn() -> None:
    text = "g (float[N,8] x) => (float[N,8] y) { h = MatMul(x, w)  y = Relu(h) }"
    model = model_with(text, {"w": (8, 8)})
    placed(model, "qnn")
    assert model.graph.initializers["w_scale"].shape == ()
    model = model_with(BODY, SIZES)
    placed(model, "qnn")
    assert model.graph.initializers["w_scale"].shape == (16,)


PLAIN = """g (float[N,16,8,8] x) => (float[N,16,8,8] y) {
  z = Relu(x)  a = Conv<pads=[1,1,1,1]>(z, w)  b = Relu(z)  c = Conv<pads=[1,1,1,1]>(b, v)  d = Add(a, c)  e = Erf(d)
  y = Conv<pads=[1,1,1,1]>(e, t) }"""


@pytest.mark.parametrize("target", sorted(set(target_names()) - {"ort-cpu"}))
@pytest.mark.parametrize("plain", [False, True])
def test_an_island_only_takes_pairs_away(target: str, plain: bool) -> None:
    """Grids are chosen once, for the placement without islands."""
    text = (
        PLAIN
        if plain
        else """g (float[N,16,8,8] x) => (float[N,16,8,8] y) {
      a = Conv<pads=[1,1,1,1]>(x, w)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, v)  s = Sigmoid(c)  m = Mul(c, s)
      d = Add(m, b)  e = Relu(d)  p = MaxPool<kernel_shape=[1,1]>(e)  j = Concat<axis=1>(p, b)
      y = Conv<pads=[1,1,1,1]>(j, u) }"""
    )
    w = (16, 16, 3, 3)
    model = model_with(text, {"w": w, "v": w} | ({"t": w} if plain else {"u": (16, 32, 3, 3)}))
    whole = plan_of(model, target)
    for name in whole.pairs:
        left = plan_of(model, target, (name,))
        assert set(left.pairs) < set(whole.pairs) and name not in left.pairs
