from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from builders.runtime_models import detector, linear, normal, parsed

from onnxcompress.errors import ModelError, UsageError
from onnxcompress.runtime import Session
from onnxcompress.shapes import probe_feeds


def test_same_seed_same_inputs():
    first, second, other = (probe_feeds(linear(), seed=seed)["x"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert first.shape == (2, 4)


@pytest.mark.parametrize(
    "walk",
    [
        "y = Gather(table, i)",
        "c = Cast<to=6>(i) y = Gather(table, c)",
        "a = Unsqueeze(i, axis) b = Squeeze(a, axis) y = Gather(table, b)",
        "j = Identity(i) y = local.Lookup(table, j)",
    ],
)
def test_ids_stay_below_the_tables_size(walk):
    function = '<domain: "local", opset_import: ["" : 21]> Lookup (t, k) => (z) { z = Gather(t, k) }'
    text = f"g (int64[N,64] i, float[5,4] table, int64[1] axis) => (float[N,64,4] y) {{ {walk} }} {function}"
    constants = {"table": normal(5, 4)} | ({"axis": np.array([0])} if "axis" in walk else {})
    text = text if "axis" in walk else text.replace(", int64[1] axis", "")
    ids = probe_feeds(parsed(text, **constants))["i"]
    assert ids.dtype == np.int64
    assert ids.min() >= 0
    assert ids.max() == 4


def test_an_offset_before_the_table_is_taken_off():
    text = (
        "g (int64[N,64] i, float[5,4] table, int64 two) => (float[N,64,4] y) { j = Add(i, two) y = Gather(table, j) }"
    )
    ids = probe_feeds(parsed(text, table=normal(5, 4), two=np.array(2)))["i"]
    assert set(np.unique(ids)) == {0, 1, 2}


def test_one_hot_bounds_ids_too():
    text = "g (int64[N] i, int64 depth, float[2] v) => (float[N,7] y) { y = OneHot(i, depth, v) }"
    model = parsed(text, depth=np.array(7), v=np.array([0, 1], np.float32))
    assert probe_feeds(model, batch=99)["i"].max() == 6


def test_a_rate_takes_the_value_that_it_is_compared_with():
    model = parsed(
        "g (float[N,4] x, int64 rate, int64 known) => (float[N,4] y) {"
        "c = Equal(rate, known) y = If (c) <then_branch = t () => (float[N,4] a) { a = Neg(x) },"
        "else_branch = e () => (float[N,4] b) { b = Abs(x) }> }",
        known=np.array(16000),
    )
    assert probe_feeds(model)["rate"] == 16000


def test_free_axes_take_a_size_that_runs():
    text = "g (float[N,L] x, int64[3] shape) => (float[N,3,M] y) { y = Reshape(x, shape) }"
    model = parsed(text.replace("3", "7"), shape=np.array([0, 7, -1]))
    with pytest.raises(ModelError, match="no input that the model accepts"):
        probe_feeds(model)
    assert probe_feeds(model, shapes={"x": (2, 14)})["x"].shape == (2, 14)
    eight = parsed(text.replace("3", "128"), shape=np.array([0, 128, -1]))
    assert probe_feeds(eight)["x"].shape == (2, 128)


def test_one_symbol_one_size():
    model = parsed("g (float[N,L] x, float[N,L] z) => (float[N,L] y) { y = Add(x, z) }")
    feeds = probe_feeds(model, batch=3, shapes={"x": (3, 5)})
    assert feeds["z"].shape == (3, 5)


def test_expressions_of_symbols_follow_them():
    model = parsed('g (float[N,past] x, float[N,"past + 1"] z) => (float[N,M] y) { y = Concat<axis=1>(x, z) }')
    feeds = probe_feeds(model)
    assert feeds["z"].shape[1] == feeds["x"].shape[1] + 1


def test_a_batch_of_one_where_the_graph_fixes_it():
    text = "g (float[N,4] x, int64[2] shape) => (float[1,4] y) { y = Reshape(x, shape) }"
    assert probe_feeds(parsed(text, shape=np.array([1, 4])))["x"].shape == (1, 4)


def test_positive_inputs_where_normal_ones_give_nan():
    model = parsed("g (float[N,4] x) => (float[N,4] y) { y = Sqrt(x) }")
    feeds = probe_feeds(model)
    assert np.isfinite(Session(model).run(feeds)["y"]).all()


@pytest.mark.parametrize("kind", ["float16", "double", "bool", "uint8", "int8", "int32", "uint16"])
def test_every_numeric_type(kind):
    model = parsed(f"g ({kind}[N,4] x) => ({kind}[N,4] y) {{ y = Identity(x) }}")
    feeds = probe_feeds(model)
    assert Session(model).run(feeds)["y"].shape == (2, 4)


@pytest.mark.parametrize(("kind", "said"), [("string", "strings"), ("complex64", "complex"), ("int4", "INT4")])
def test_types_without_numbers_are_refused_by_name(kind, said):
    model = parsed(f"g ({kind}[N,4] words) => ({kind}[N,4] y) {{ y = Identity(words) }}")
    with pytest.raises(ModelError, match=said) as caught:
        probe_feeds(model)
    assert caught.value.where == "input words"


def test_a_missing_shape_is_asked_for():
    model = parsed("g (float[] x) => (float[] y) { y = Neg(x) }")
    with pytest.raises(ModelError, match="declares no shape") as caught:
        probe_feeds(model)
    assert "--shape x:" in caught.value.hint
    assert probe_feeds(model, shapes={"x": (3, 2)})["x"].shape == (3, 2)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [({"z": (1, 4)}, "no such input"), ({"x": (4,)}, "2 axes"), ({"x": (1, 5)}, "axis 1 is 4 and 5 was given")],
)
def test_shapes_that_do_not_fit_are_refused(shapes, said):
    with pytest.raises(UsageError, match=said):
        probe_feeds(linear(), shapes=shapes)


def test_a_model_with_a_plugin_is_probed_up_to_it():
    assert probe_feeds(detector())["x"].shape == (2, 3, 8, 8)


@pytest.mark.parametrize("kind", ["bfloat16", "float8e4m3fn"])
def test_types_that_numpy_lacks_are_fed_by_their_type(kind):
    model = parsed(f"g ({kind}[N,4] x) => (float[N,4] y) {{ y = Cast<to=1>(x) }}")
    feeds = probe_feeds(model)
    np.testing.assert_array_equal(Session(model).run(feeds)["y"], feeds["x"].astype(np.float32))


def test_a_decoder_step_with_its_cache():
    taken = "int64[B,S] ids, int64[B,total_length] mask, float[B,2,past,8] cache, float[10,16] w"
    text = (
        f"g ({taken}) => (float[B,2,T,8] y)"
        """{
        e = Gather(w, ids) s = Constant<value_ints=[0,0,2,8]>() r = Reshape(e, s) q = Transpose<perm=[0,2,1,3]>(r)
        c = Concat<axis=2>(cache, q) m = Cast<to=1>(mask) axes = Constant<value_ints=[1,3]>() n = Unsqueeze(m, axes)
        y = Mul(c, n)
    }"""
    )
    feeds = probe_feeds(parsed(text, w=normal(10, 16)))
    assert feeds["mask"].shape[1] == feeds["ids"].shape[1] + feeds["cache"].shape[2]
    assert feeds["ids"].max() < 10


def test_settings_that_must_be_positive():
    text = "g (float[1,1,4,4] x, float[4] scales) => (float[1,1,H,W] y) { y = Resize(x, , scales) }"
    assert (probe_feeds(parsed(text))["scales"] > 0).all()


def test_sizes_that_would_fill_memory_are_not_tried():
    text = "g (float[N,C,H,W] x, float[3,C,1,1] w) => (float[N,K,P,Q] y) { y = Conv(x, w) }"
    tracemalloc.start()
    feeds = probe_feeds(parsed(text, w=normal(3, 4, 1, 1)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert feeds["x"].shape == (2, 4, 4, 4)
    assert peak < 1 << 30
    with pytest.raises(ModelError, match="no input that the model accepts"):
        probe_feeds(parsed(text, w=normal(3, 5, 1, 1)))


def test_a_large_input_of_fixed_size_is_probed_all_the_same():
    model = parsed("g (float[8192,8193] x) => (float[8192,8193] y) { y = Neg(x) }")
    assert probe_feeds(model)["x"].shape == (8192, 8193)
