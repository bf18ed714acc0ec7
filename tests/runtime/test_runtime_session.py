from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from builders.runtime_models import linear, normal, parsed

from onnxcompress.errors import DataError, ModelError, UsageError
from onnxcompress.runtime import Session
from onnxcompress.runtime.faults import node_of, reason_of
from onnxcompress.runtime.payload import payload, weight_bytes
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)


def test_runs_and_names_its_inputs():
    session = Session(linear(), ONE)
    x = normal(2, 4)
    assert session.inputs[0].name == "x"
    assert session.inputs[0].dims == ("N", 4)
    assert session.inputs[0].dtype == np.float32
    assert session.run({"x": x})["logits"].shape == (2, 3)


@pytest.mark.parametrize("optimize", [False, True])
def test_taps_return_intermediate_tensors_inputs_and_constants(optimize):
    model = parsed("g (float[N,4] x) => (float[N,4] y) { a = Relu(x) b = Neg(a) y = Abs(b) }")
    x = normal(2, 4)
    found = Session(model, ONE, optimize=optimize, taps=["a", "x"]).run({"x": x}, ["a", "x", "y"])
    np.testing.assert_array_equal(found["a"], np.maximum(x, 0))
    np.testing.assert_array_equal(found["x"], x)
    assert [value.name for value in model.graph.outputs] == ["y"], "the model itself is not edited"


def test_unknown_tap_is_refused_by_name():
    with pytest.raises(ModelError, match="no tensor 'nowhere'"):
        Session(linear(), ONE, taps=["nowhere"])


def test_load_fault_names_the_node_and_gives_the_reason():
    model = parsed("g (float[N,4] x, float[5,3] w) => (float[N,3] y) { [product] y = MatMul(x, w) }", w=normal(5, 3))
    with pytest.raises(ModelError) as caught:
        Session(model, ONE)
    assert caught.value.where == "node product"
    assert "Incompatible dimensions" in caught.value.why
    assert "onnxruntime" not in caught.value.why.lower().replace("onnx runtime", "")


def test_run_fault_names_the_node_without_source_paths():
    model = parsed("g (float[N,4] x, float[M] s) => (float[N,4] y) { [scale] y = Mul(x, s) }")
    with pytest.raises(ModelError) as caught:
        Session(model, ONE).run({"x": normal(2, 4), "s": normal(3)})
    assert caught.value.where == "node scale"
    assert ".h" not in caught.value.why
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"x": np.zeros((2, 5), np.float32)}, "Got: 5 Expected: 4"),
        ({"x": np.zeros((2, 4))}, "double"),
        ({"x": np.zeros(4, np.float32)}, "Invalid rank"),
        ({}, "'x'"),
        ({"x": np.zeros((2, 4), np.float32), "z": np.zeros(1)}, "Invalid input name: z"),
    ],
)
def test_inputs_that_do_not_fit_are_the_datas_fault(feeds, said):
    with pytest.raises(DataError, match=said):
        Session(linear(), ONE).run(feeds)


def test_unavailable_provider_is_refused():
    with pytest.raises(UsageError, match="not available") as caught:
        Session(linear(), RuntimeOptions(providers=("NoSuchProvider",)))
    assert "CPUExecutionProvider" in caught.value.hint


def test_library_that_is_none_is_refused(tmp_path):
    path = tmp_path / "ops.so"
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="custom operators"):
        Session(linear(), RuntimeOptions(custom_ops=(path,)))


def two_layers() -> ir.Model:
    text = "g (float[N,64] x, float[64,64] a, float16[64,64] b) => (float[N,64] y)"
    body = "{ h = MatMul(x, a) c = Cast<to=1>(b) y = MatMul(h, c) }"
    return parsed(f"{text} {body}", a=normal(64, 64), b=normal(64, 64, seed=1).astype(np.float16))


@pytest.mark.parametrize("optimize", [False, True])
def test_weights_above_the_protobuf_limit_are_lent(monkeypatch, optimize):
    model, x = two_layers(), normal(2, 64)
    expected = Session(model, ONE, optimize=optimize).run({"x": x})["y"]
    with payload(model, limit=16) as given:
        assert isinstance(given.source, bytes)
        assert [name for name, _ in given.lent] == ["a", "b"]
        assert len(given.source) < 2000
    monkeypatch.setattr("onnxcompress.runtime.session.payload", lambda model: payload(model, limit=16))
    np.testing.assert_array_equal(Session(model, ONE, optimize=optimize).run({"x": x})["y"], expected)


def test_what_cannot_be_lent_goes_through_a_temporary_file(monkeypatch):
    model, x = linear(), normal(2, 4)
    assert weight_bytes(model) == 48
    expected = Session(model, ONE).run({"x": x})["logits"]
    with payload(model, limit=16) as given:
        path = Path(str(given.source))
        assert path.is_file()
    assert not path.exists()
    monkeypatch.setattr("onnxcompress.runtime.session.payload", lambda model: payload(model, limit=16))
    np.testing.assert_array_equal(Session(model, ONE).run({"x": x})["logits"], expected)


def test_external_data_is_read(tmp_path):
    ir.save(linear(), tmp_path / "m.onnx", external_data="m.bin", size_threshold_bytes=0)
    x = normal(2, 4)
    expected = Session(linear(), ONE).run({"x": x})["logits"]
    np.testing.assert_array_equal(Session(ir.load(tmp_path / "m.onnx"), ONE).run({"x": x})["logits"], expected)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("Non-zero status code returned while running Mul node. Name:'m' Status Message: bad", "m"),
        ("Could not find an implementation for Foo(1) node with name 'f'", "f"),
        ("Load model from x failed:Node (n) Op (Conv) [ShapeInferenceError] bad", "n"),
        ("nothing to see", ""),
    ],
)
def test_node_of(text, node):
    assert node_of(text) == node


def test_reason_of_strips_codes_paths_and_signatures():
    text = (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Mul node. Name:'' "
        "Status Message: /a/onnxruntime/core/x.h:563 void onnxruntime::B::Init(long, long) 2 by 3 does not fit.\n"
    )
    assert reason_of(text) == "2 by 3 does not fit"
