"""Costs against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from builders.runtime_models import detector, linear, normal, parsed

from onnxcompress.cost import costs, parameters, size_bytes
from onnxcompress.model_io import load, save, to_bytes
from onnxcompress.shapes import infer


@pytest.mark.parametrize(
    ("node", "weight", "macs"),
    [
        ("y = Conv(x, w)", (16, 8, 3, 3), 16 * 8 * 3 * 3 * 6 * 6),
        ("y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w)", (16, 8, 3, 3), 16 * 8 * 9 * 4 * 4),
        ("y = Conv<group=4>(x, w)", (16, 2, 3, 3), 16 * 2 * 9 * 36),
        ("y = Conv<group=8>(x, w)", (8, 1, 3, 3), 8 * 9 * 36),
        ("y = ConvTranspose<strides=[2,2]>(x, w)", (8, 5, 3, 3), 8 * 5 * 9 * 64),
        ("y = ConvTranspose<group=2>(x, w)", (8, 3, 3, 3), 8 * 3 * 9 * 64),
    ],
)
def test_convolutions(node, weight, macs):
    shape = ",".join(map(str, weight))
    model = parsed(f"g (float[N,8,8,8] x, float[{shape}] w) => (float[N,C,H,W] y) {{ {node} }}", w=normal(*weight))
    found = costs(model)
    assert found.macs == macs
    assert found.params == np.prod(weight)


@pytest.mark.parametrize(
    ("inputs", "node", "macs"),
    [
        ("float[N,7,12] x, float[12,5] w", "y = MatMul(x, w)", 7 * 12 * 5),
        ("float[N,3,7,12] x, float[N,3,12,7] w", "y = MatMul(x, w)", 3 * 7 * 12 * 7),
        ("float[12] x, float[12,5] w", "y = MatMul(x, w)", 12 * 5),
        ("float[N,12] x, float[5,12] w", "y = Gemm<transB=1>(x, w)", 12 * 5),
        ("float[12,4] x, float[12,5] w", "y = Gemm<transA=1>(x, w)", 4 * 12 * 5),
        ("float[N,4,6] x, float[6,5] w", 'y = Einsum<equation="bij,jk->bik">(x, w)', 4 * 6 * 5),
        ("float[N,4,6] x, float[6,5] w", 'y = Einsum<equation="...j,jk->...k">(x, w)', 4 * 6 * 5),
        ("float[N,7,12] x, float[12,5] w", "y = com.microsoft.FusedMatMul(x, w)", 7 * 12 * 5),
    ],
)
def test_products(inputs, node, macs):
    assert costs(parsed(f"g ({inputs}) => (float[] y) {{ {node} }}")).macs == macs


@pytest.mark.parametrize(
    ("op", "gates", "direction", "directions"),
    [
        ("LSTM", 4, "forward", 1),
        ("LSTM", 4, "bidirectional", 2),
        ("GRU", 3, "bidirectional", 2),
        ("RNN", 1, "reverse", 1),
    ],
)
def test_recurrences(op, gates, direction, directions):
    steps, width, hidden = 5, 6, 3
    shapes = {"w": (directions, gates * hidden, width), "r": (directions, gates * hidden, hidden)}
    taken = ", ".join(f"float[{','.join(map(str, shape))}] {name}" for name, shape in shapes.items())
    node = f'y = {op}<hidden_size={hidden}, direction="{direction}">(x, w, r)'
    text = f"g (float[{steps},1,{width}] x, {taken}) => (float[{steps},{directions},1,{hidden}] y) {{ {node} }}"
    model = parsed(text, **{name: normal(*shape) for name, shape in shapes.items()})
    assert costs(model).macs == directions * steps * gates * hidden * (width + hidden)


def test_macs_are_of_one_sample_whatever_the_probe():
    model = linear()
    assert costs(model).macs == 12
    assert costs(model, infer(model, shapes={"x": (8, 4)})).macs == 12


def test_attention_counts_scores_and_their_sum():
    taken = ", ".join(f"float[N,10,32] {name}" for name in "qkv")
    model = parsed(
        f"g ({taken}) => (float[N,10,32] y) {{ y = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v) }}"
    )
    assert costs(model).macs == 2 * 10 * 10 * 32


def test_quantized_forms_count_like_float_ones():
    qdq = """g (float[N,4] x, int8[4,3] w, float s, int8 z, float sx, uint8 zx) => (float[N,3] y) {
        wf = DequantizeLinear(w, s, z)
        q = QuantizeLinear(x, sx, zx)
        d = DequantizeLinear(q, sx, zx)
        y = MatMul(d, wf)
    }"""
    scalars = {"s": np.float32(0.1), "sx": np.float32(0.1), "z": np.int8(0), "zx": np.uint8(128)}
    constants = {name: np.array(value) for name, value in scalars.items()}
    model = parsed(qdq, w=np.ones((4, 3), np.int8), **constants)
    found = costs(model)
    assert (found.macs, found.params) == (12, 12)
    assert found.macs_by_node == {"y": 12}
    qop = """g (uint8[N,4] x, float sx, uint8 zx, int8[4,3] w, float s, int8 z) => (uint8[N,3] y) {
        y = QLinearMatMul(x, sx, zx, w, s, z, sx, zx)
    }"""
    integer = parsed(qop, w=np.ones((4, 3), np.int8), **constants)
    assert (costs(integer).macs, costs(integer).params) == (12, 12)


def test_parameters_are_weights_and_count_once():
    text = "g (float[N,4] x, float[4,4] w, float[4] b, int64[2] s, float k) => (float[N,4] y)"
    body = "{ a = MatMul(x, w) c = MatMul(a, w) d = Add(c, b) e = Mul(d, k) y = Reshape(e, s) }"
    constants = {"w": normal(4, 4), "b": normal(4), "s": np.array([-1, 4]), "k": np.array(2, np.float32)}
    assert parameters(parsed(f"{text} {body}", **constants)) == 20


def test_an_if_counts_its_costlier_branch():
    model = parsed(
        """g (float[N,4] x, bool c, float[4,3] w, float[4,4] v) => (float[N,3] y) {
        y = If (c) <
            then_branch = t () => (float[N,3] a) { a = MatMul(x, w) },
            else_branch = e () => (float[N,3] b) { h = MatMul(x, v) b = MatMul(h, w) }
        >
    }""",
        w=normal(4, 3),
        v=normal(4, 4),
    )
    found = costs(model)
    assert found.macs == 16 + 12
    assert found.nodes == 4


def test_functions_count_every_call():
    model = parsed(
        """g (float[N,4] x, float[4,4] w) => (float[N,4] y) { h = local.Block(x, w) y = local.Block(h, w) }
        <domain: "local", opset_import: ["" : 21]> Block (t, k) => (z) { m = MatMul(t, k) z = Relu(m) }""",
        w=normal(4, 4),
    )
    assert costs(model).macs == 32


def test_bytes_are_those_of_the_file_external_data_included(tmp_path):
    model = linear(64, 64)
    assert size_bytes(model) == len(to_bytes(model))
    save(model, tmp_path / "m.onnx", external=True)
    lying = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size_bytes(load(tmp_path / "m.onnx")) == pytest.approx(lying, rel=0.02)


def test_too_large_for_a_protobuf_is_still_counted(monkeypatch):
    model = linear(64, 64)
    exact = size_bytes(model)
    monkeypatch.setattr("onnxcompress.cost.count._SERIALIZED_BYTES", 100)
    assert size_bytes(model) == pytest.approx(exact, rel=0.02)


def test_plugins_cost_nothing_and_hide_nothing():
    found = costs(detector())
    assert found.macs == 4 * 3 * 9 * 36
    assert found.summary() == {"params": 108, "macs": found.macs, "bytes": found.bytes, "nodes": 3}


def test_a_model_that_cannot_be_probed_is_counted_from_its_shapes():
    text = "g (string[2] s, float[2,4] x, float[4,3] w) => (float[2,3] y, string[2] t)"
    assert costs(parsed(f"{text} {{ y = MatMul(x, w) t = Identity(s) }}", w=normal(4, 3))).macs == 24


def test_unknown_sizes_are_named():
    text = "g (string[2] s, float[2,4] x, int64[2] k, float[4,3] w) => (float[A,3] y, string[2] t)"
    body = "{ r = Reshape(x, k) [dense] y = MatMul(r, w) t = Identity(s) }"
    found = costs(parsed(f"{text} {body}", w=normal(4, 3)))
    assert found.unknown == ("dense",)
    assert found.macs == 0
