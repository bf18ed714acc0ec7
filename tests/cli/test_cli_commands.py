"""The compressing commands end to end on small models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders.command_line import CommandLine, write_model
from onnx import TensorProto, helper, numpy_helper

TRT_DOMAIN = "TRT"


def _weights(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(size=shape) * 0.3
    return numpy_helper.from_array(values.astype(np.float32), name)


def _detector(path: Path) -> Path:
    """Two convolutions, two heads, and TensorRT's NMS plug-in behind them, which ONNX Runtime lacks."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="conv1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "wb"], ["b"], name="boxes"),
        helper.make_node("Conv", ["r2", "ws"], ["s"], name="scores"),
        helper.make_node("Reshape", ["b", "shape_b"], ["b4"]),
        helper.make_node("Reshape", ["s", "shape_s"], ["s3"]),
        helper.make_node(
            "EfficientNMS_TRT", ["b4", "s3"], ["n", "d"], name="nms", domain=TRT_DOMAIN, background_class=-1
        ),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [
        helper.make_tensor_value_info("n", TensorProto.INT32, [1, 1]),
        helper.make_tensor_value_info("d", TensorProto.FLOAT, [1, 10, 4]),
    ]
    constants = [
        _weights("w1", 16, 3, 3, 3),
        _weights("w2", 16, 16, 3, 3),
        _weights("wb", 4, 16, 1, 1),
        _weights("ws", 3, 16, 1, 1),
        numpy_helper.from_array(np.array([1, 64, 4]), "shape_b"),
        numpy_helper.from_array(np.array([1, 64, 3]), "shape_s"),
    ]
    graph = helper.make_graph(nodes, "detector", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(TRT_DOMAIN, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    np.savez(tmp_path / "pictures.npz", x=np.random.default_rng(0).normal(size=(24, 3, 8, 8)).astype(np.float32))
    return _detector(tmp_path / "detector.onnx")


def _plugin(path: str) -> bytes:
    (node,) = [n for n in onnx.load(path).graph.node if n.op_type == "EfficientNMS_TRT"]
    return node.SerializeToString(deterministic=True)


@pytest.mark.parametrize("words", [("prune", "--ratio", "0.5"), ("quantize", "--target", "tensorrt")])
def test_a_tensorrt_plugin_is_carried_through_byte_for_byte(
    cli: CommandLine, detector: Path, words: tuple[str, ...]
) -> None:
    outcome = cli(words[0], detector, *words[1:], "--data", detector.with_name("pictures.npz"), "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert _plugin(report["output"]) == _plugin(str(detector))
    assert report["after"]["bytes"] < 0.7 * report["before"]["bytes"]
    found = [f for record in report["passes"] for f in record["findings"] if f["node"] == "nms"]
    assert found, "a finding names the node that was not run"


def test_a_missing_custom_operator_library_is_named(cli: CommandLine, detector: Path) -> None:
    outcome = cli("prune", detector, "--custom-ops", detector.with_name("none.so"))
    assert outcome.code in (2, 3)
    assert "none.so" in outcome.err


def test_default_names(cli: CommandLine, model: Path) -> None:
    detector = _detector(model.with_name("detector.onnx"))
    assert cli("quantize", detector, "-q").out == f"{detector.with_name('detector.int8.onnx')}\n"
    assert cli("prune", detector, "-q", "--ratio", "0.5").out == f"{detector.with_name('detector.pruned.onnx')}\n"


def test_the_trtexec_line_is_on_stderr_and_names_no_removed_flag(cli: CommandLine, detector: Path) -> None:
    words = ("quantize", detector, "--target", "tensorrt", "--data", detector.with_name("pictures.npz"))
    line = cli(*words).err.splitlines()[-1]
    assert line.startswith("next: trtexec --onnx=")
    assert "detector.int8.onnx" in line
    assert not any(flag in line for flag in ("--int8", "--fp16", "--best", "--calib"))


def test_quantize_without_data_makes_int8_weights_and_says_what_data_would_add(
    cli: CommandLine, detector: Path
) -> None:
    outcome = cli("quantize", detector)
    assert outcome.code == 0, outcome.err
    assert "with --data the model also computes in int8" in outcome.err
    kinds = [w.data_type for w in onnx.load(detector.with_name("detector.int8.onnx")).graph.initializer]
    assert TensorProto.INT8 in kinds


def test_prune_without_data_says_that_accuracy_is_not_measured(cli: CommandLine, detector: Path) -> None:
    outcome = cli("prune", detector, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.err.startswith("warning: accuracy will NOT be measured")
    report = json.loads(outcome.out)
    assert report["quality"] == {}
    assert report["after"]["macs"] <= 0.95 * report["before"]["macs"]


def test_distill_says_exactly_what_to_give(cli: CommandLine, model: Path) -> None:
    outcome = cli("distill", model)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--teacher MODEL" in outcome.err
    assert "--data FILE" in outcome.err
    outcome = cli("distill", model, "--teacher", model)
    assert outcome.code == 2
    assert "--data FILE" in outcome.err


def test_distill_trains_and_names_its_output(cli: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,2] x) => (float[N,2] y)'
        " <float[2,2] w = {%s}> { [product] y = MatMul(x, w) }"
    )
    teacher = write_model(tmp_path / "teacher.onnx", text % "1, 0.5, -0.5, 1")
    student = write_model(tmp_path / "student.onnx", text % "0.6, 0.1, -0.1, 0.8")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))
    outcome = cli("distill", student, "--teacher", teacher, "--data", tmp_path / "x.npz", "--steps", "40", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["output"] == str(tmp_path / "student.distilled.onnx")
    assert report["teacher"]
    weights = [numpy_helper.to_array(onnx.load(p).graph.initializer[0]) for p in (report["output"], student, teacher)]
    assert np.abs(weights[0] - weights[2]).max() < np.abs(weights[1] - weights[2]).max()


def test_distill_self_compress_is_one_command_without_a_teacher(cli: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,4] x) => (float[N,2] y)'
        " <float[4,8] a = {%s}, float[8,2] b = {%s}> { [first] h = MatMul(x, a) r = Relu(h) [second] y = MatMul(r, b) }"
    )
    rng = np.random.default_rng(0)
    numbers = (", ".join(f"{v:.4f}" for v in rng.normal(size=size)) for size in (32, 16))
    model = write_model(tmp_path / "net.onnx", text % tuple(numbers))
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(80, 4)).astype(np.float32))
    words = ("distill", model, "--self-compress", "--target-macs", "0.5x", "--data", tmp_path / "x.npz")
    outcome = cli(*words, "--max-gap", "1", "--stage-cut", "0.5", "--stage-steps", "10", "--rewind", "0.1", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["output"] == str(tmp_path / "net.compressed.onnx")
    assert report["after"]["macs"] <= 0.5 * report["before"]["macs"]
    recipe = cli(*words, "--dry-run")
    assert 'pass = "self-compress"' in recipe.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--self-compress",), "was not told what to come to"),
        (("--self-compress", "--target-macs", "0.4x", "--target-params", "0.4x"), "both targets were given"),
        (("--self-compress", "--target-macs", "0.4x", "--steps", "50"), "--steps is an option of distill"),
        (("--self-compress", "--target-macs", "2x"), "--target-macs 2x is no reduction"),
        (("--self-compress", "--target-macs", "0.4x", "--max-gap", "-1"), "option max_gap"),
        (("--teacher", "MODEL", "--target-macs", "0.4x"), "--target-macs is an option of self-compress"),
        (("--teacher", "MODEL", "--stage-cut", "0.1"), "Add --self-compress"),
    ],
)
def test_self_compress_refuses_senseless_combinations(
    cli: CommandLine, model: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 2, 4, 4), np.float32))
    given = [str(model) if word == "MODEL" else word for word in words]
    outcome = cli("distill", model, *given, "--data", tmp_path / "x.npz")
    assert outcome.code == 2, outcome.err
    assert said in outcome.err


def test_self_compress_without_samples_says_what_to_give(cli: CommandLine, model: Path) -> None:
    outcome = cli("distill", model, "--self-compress", "--target-macs", "0.4x")
    assert outcome.code == 2
    assert "--data FILE" in outcome.err


def test_an_option_that_needs_data_is_refused_without(cli: CommandLine, model: Path) -> None:
    outcome = cli("quantize", model, "--calibrator", "kl")
    assert (outcome.code, outcome.out) == (2, "")
    assert "calibrator" in outcome.err


def test_prune_weights_from_the_command_line(cli: CommandLine, detector: Path) -> None:
    outcome = cli("prune", detector, "--weights", "global", "--sparsity", "0.7", "--json")
    report = json.loads(outcome.out)
    assert [entry["pass"] for entry in report["recipe"]] == ["normalize", "fold-batchnorm", "prune-weights"]
    total = next(f for f in report["passes"][-1]["findings"] if f["code"] == "PRUNE-SPARSITY-TOTAL")
    assert total["numbers"]["zeros"] == int(0.7 * total["numbers"]["weights"])
    assert "zero weights" in outcome.err
    assert "bytes when zipped" in outcome.err
    assert "PRUNE-NO-SPEEDUP" in outcome.err


def test_a_pattern_for_tensorrt_asks_trtexec_for_sparse_kernels(cli: CommandLine, detector: Path) -> None:
    outcome = cli("prune", detector, "--weights", "2:4", "--target", "tensorrt", "--allow-unchanged")
    assert "--sparsity=enable" in outcome.err


@pytest.mark.parametrize(
    "words", [("--weights", "3:2"), ("--sparsity", "1.5"), ("--weights", "global", "--threshold", "0.1")]
)
def test_bad_weight_options_write_nothing(cli: CommandLine, detector: Path, words: tuple[str, ...]) -> None:
    assert cli("prune", detector, *words).code == 2
    assert not detector.with_name("detector.pruned.onnx").exists()


def test_reconstruct_says_exactly_what_to_give(cli: CommandLine, model: Path) -> None:
    outcome = cli("reconstruct", model)
    assert outcome.code == 2
    assert "--teacher MODEL" in outcome.err
    outcome = cli("reconstruct", model, "--teacher", model)
    assert outcome.code == 2
    assert "--data FILE" in outcome.err
    missing = model.with_name("missing.onnx")
    outcome = cli("reconstruct", model, "--teacher", missing, "--data", "x.npz")
    assert outcome.code != 0
    assert "missing.onnx" in outcome.err
