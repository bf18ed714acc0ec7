from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxcompress as oc
from onnxcompress import api
from onnxcompress.errors import GateError, UsageError
from onnxcompress.recipe import dump_recipe, parse_recipe

ROOT = Path(__file__).parents[1]
MLP = ROOT / "samples/models/mlp.onnx"
TABLE = ROOT / "samples/data/breast_cancer.npz"


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    with np.load(TABLE) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.mark.parametrize(
    ("command", "has_data", "passes"),
    [
        ("prune", True, ["normalize", "prune-channels", "reconstruct"]),
        ("prune", False, ["normalize", "prune-channels", "reconstruct"]),
        ("quantize", True, ["normalize", "fold-batchnorm", "insert-qdq"]),
        ("quantize", False, ["normalize", "fold-batchnorm", "quantize-weights"]),
        ("distill", True, ["distill"]),
    ],
)
def test_a_command_is_a_recipe(command: str, has_data: bool, passes: list[str]) -> None:
    recipe = api.recipe_for(command, has_data=has_data)
    assert [p.name for p in recipe.passes] == passes
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_self_compression_is_a_recipe_without_a_teacher() -> None:
    options = {"self_compress": True, "target_macs": "0.4x"}
    recipe = api.recipe_for("distill", options, has_data=True, has_teacher=False)
    assert [p.spec() for p in recipe.passes][1:] == [{"pass": "self-compress", "target_macs": "0.4x"}]
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_auto_distils_where_torch_is() -> None:
    names = [p.name for p in api.recipe_for("auto", has_data=True).passes]
    assert names[0] == "normalize"
    assert names[-1] == "insert-qdq"
    assert ("distill" in names) is (importlib.util.find_spec("torch") is not None)


def test_auto_without_torch_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    recipe = api.recipe_for("auto", has_data=True)
    assert "distill" not in [p.name for p in recipe.passes]
    few = replace(recipe, passes=recipe.passes[:1])
    model = '<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[1] y) { t = Identity(x) y = Neg(t) }'
    (note,) = [n for n in api.run_recipe(few, onnx.parser.parse_model(model)).report.notes if "distill" in n]
    assert 'pip install "onnxcompress[distill]"' in note


def test_without_data_prune_is_timid() -> None:
    timid, bold = (api.recipe_for("prune", has_data=has).passes[1].spec() for has in (False, True))
    assert (timid["target_macs"], bold["target_macs"]) == ("0.9x", "0.5x")
    asked = api.recipe_for("prune", {"ratio": 0.3}, has_data=False).passes[1].spec()
    assert asked == {"pass": "prune-channels", "ratio": 0.3}


ZEROS = ["fold-batchnorm", "prune-weights"]


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"weights": "2:4"}, ["normalize", *ZEROS]),
        ({"sparsity": 0.7, "layer": ("a=0.2",)}, ["normalize", *ZEROS]),
        ({"threshold": 0.01, "rows": 100}, ["normalize", *ZEROS]),
        (
            {"weights": "global", "ratio": 0.5},
            ["normalize", "prune-channels", "reconstruct", *ZEROS],
        ),
    ],
)
def test_prune_does_weights_channels_or_both(options: dict[str, object], passes: list[str]) -> None:
    recipe = api.recipe_for("prune", options, has_data=True)
    assert [p.name for p in recipe.passes] == passes
    assert {k: v for p in recipe.passes for k, v in p.spec().items() if k != "pass"} == {
        k: list(v) if isinstance(v, tuple) else v for k, v in options.items()
    }


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"weights": "2:4", "score": "l1"}, "USAGE-PRUNE-MIXED"),
        ({"weights": "global", "ratio": 0.5, "layer": ("a=0.2",)}, "USAGE-PRUNE-LAYER"),
    ],
)
def test_options_of_channels_and_weights_are_told_apart(options: dict[str, object], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        api.recipe_for("prune", options, has_data=False)
    assert caught.value.code == code


def test_a_new_size_replaces_the_old_one() -> None:
    recipe = api.recipe_for("auto", {"prune-channels.ratio": "0.25"}, has_data=True)
    spec = next(p.spec() for p in recipe.passes if p.name == "prune-channels")
    assert spec == {"pass": "prune-channels", "ratio": 0.25}


@pytest.mark.parametrize(
    ("command", "options", "flags", "says"),
    [
        ("distill", {}, {"has_data": False}, "needs samples"),
        ("distill", {}, {"has_data": True, "has_teacher": False}, "needs a teacher"),
        ("distill", {"stage_cut": 0.1}, {"has_data": True}, "Add --self-compress"),
        (
            "distill",
            {"self_compress": True, "scales": "freeze"},
            {"has_data": True},
            "--scales is an option of distill",
        ),
        ("auto", {}, {"has_data": False}, "needs samples"),
        ("auto", {"prune.ratio": 1}, {"has_data": True}, "names no pass of this recipe"),
        ("prune", {"rato": 1}, {"has_data": True}, "no option 'rato'"),
        ("shrink", {}, {"has_data": True}, "unknown command 'shrink'"),
        ("quantize", {"calibrator": "kl"}, {"has_data": False}, "--calibrator is an option of insert-qdq.*Give --data"),
        ("quantize", {"block": 16}, {"has_data": True}, "--block is an option of quantize-weights.*Leave out --data"),
    ],
)
def test_what_cannot_be_is_said(command: str, options: dict[str, Any], flags: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        api.recipe_for(command, options, **flags)


def _batches(x: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(x), 50):
        yield {"features": x[start : start + 50]}


def test_a_model_may_be_a_path_a_proto_or_an_ir(table: dict[str, np.ndarray]) -> None:
    data = {"features": table["x_train"]}
    results = [oc.prune(model, data=data, ratio=0.5) for model in (str(MLP), MLP, onnx.load(MLP), oc.load(MLP))]
    prints = {r.report.fingerprints["output"] for r in results}
    assert len(prints) == 1
    assert isinstance(results[0].model, ir.Model)
    assert isinstance(results[0].proto(), onnx.ModelProto)


def test_data_may_be_arrays_an_iterable_or_a_path(table: dict[str, np.ndarray]) -> None:
    options = api.DataOptions(str(TABLE), settings={"mapping": {"features": "x_train"}})
    forms: list[Any] = [{"features": table["x_train"]}, list(_batches(table["x_train"])), options]
    prints = {oc.quantize(MLP, data=form).report.fingerprints["output"] for form in forms}
    assert len(prints) == 1


def test_prune_then_quantize_keeps_the_accuracy(table: dict[str, np.ndarray], tmp_path: Path) -> None:
    data = api.DataOptions(
        str(TABLE),
        str(TABLE),
        settings={"mapping": {"features": "x_train"}},
        eval_mapping={"features": "x_test"},
    )
    pruned = oc.prune(MLP, data=data, target_macs="0.5x")
    assert pruned.report.after["macs"] <= 0.52 * pruned.report.before["macs"]
    small = oc.quantize(pruned.model, data=data, max_drop="3pt")
    quality = small.report.quality
    assert quality["samples"] == 169
    assert quality["accuracy_after"] >= 0.94
    path = small.save(tmp_path / "small.onnx")
    assert path.stat().st_size < MLP.stat().st_size / 3
    assert oc.load(path).metadata_props["onnxcompress.version"] == oc.__version__


def test_without_data_quantize_stores_the_weights_as_int8() -> None:
    result = oc.quantize(MLP)
    assert result.report.after["bytes"] < 0.45 * result.report.before["bytes"]
    assert any("NOT measured" in note for note in result.report.notes)


def test_a_gate_that_fails_raises(table: dict[str, np.ndarray]) -> None:
    data = {"features": table["x_train"]}
    with pytest.raises(GateError):
        oc.prune(MLP, data=data, ratio=0.9, min_sqnr=60.0)


def test_the_same_call_gives_the_same_bytes(table: dict[str, np.ndarray], tmp_path: Path) -> None:
    data = {"features": table["x_train"]}
    files = [oc.prune(MLP, data=data, ratio=0.5).save(tmp_path / f"{i}.onnx") for i in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_seed_also_chooses_the_samples() -> None:
    options = api.DataOptions(str(TABLE), settings={"mapping": {"features": "x_train"}, "samples": 20})
    chosen = [options.open(oc.load(MLP), seed=seed)[0] for seed in (0, 0, 1)]
    first, again, other = (s.read(range(20))["features"] for s in chosen if s is not None)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
