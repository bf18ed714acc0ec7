from __future__ import annotations

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


def test_weights_above_the_protobuf_limit_go_through_a_temporary_file():
    model = linear()
    assert weight_bytes(model) == 48
    with payload(model, limit=16) as given:
        assert isinstance(given.source, str)
        assert ir.load(given.source).graph.initializers["w"].const_value.numpy().shape == (4, 3)


def test_external_data_in_one_folder_is_not_copied(tmp_path):
    ir.save(linear(), tmp_path / "m.onnx", external_data="m.bin", size_threshold_bytes=0)
    model = ir.load(tmp_path / "m.onnx")
    with payload(model) as given:
        assert isinstance(given.source, bytes)
        assert given.weights_folder == str(tmp_path.resolve())
    x = normal(2, 4)
    expected = Session(linear(), ONE).run({"x": x})["logits"]
    np.testing.assert_array_equal(Session(model, ONE).run({"x": x})["logits"], expected)


def test_external_data_in_several_folders_is_gathered(tmp_path):
    text = "g (float[N,4] x, float[4,4] a, float[4,3] b) => (float[N,3] y) { h = MatMul(x, a) y = MatMul(h, b) }"
    plain = parsed(text, a=normal(4, 4), b=normal(4, 3, seed=1))
    model = parsed(text, a=normal(4, 4), b=normal(4, 3, seed=1))
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        array = model.graph.initializers[name].const_value.numpy()
        (folder / "w.bin").write_bytes(array.tobytes())
        shape = ir.Shape(array.shape)
        tensor = ir.ExternalTensor("w.bin", 0, array.nbytes, ir.DataType.FLOAT, shape=shape, name=name, base_dir=folder)
        model.graph.initializers[name].const_value = tensor
    x = normal(2, 4)
    np.testing.assert_array_equal(Session(model, ONE).run({"x": x})["y"], Session(plain, ONE).run({"x": x})["y"])


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
