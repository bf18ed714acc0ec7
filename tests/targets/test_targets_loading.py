from __future__ import annotations

import platform
import tomllib
from dataclasses import replace
from importlib import resources

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress import environment
from onnxcompress.errors import UsageError
from onnxcompress.manager import PassManager
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.normalize import Normalize
from onnxcompress.targets import load_target, loading, target_names

PROFILES = ("ort-arm", "ort-x86", "ort-x86-vnni")


@pytest.mark.parametrize("name", target_names())
def test_every_file_says_its_evidence_and_nothing_that_no_field_knows(name: str) -> None:
    target = load_target(name)
    assert target.evidence in ("run", "by documentation") and target.summary
    assert target.options == {}, "a misspelled field"
    assert {target.activation_dtype, *(w.split("/")[1] for w in target.widths)} <= {
        "none",
        "uint8",
        "int8",
        "uint16",
        "int16",
    }


def test_nobody_ran_what_cannot_be_run_here() -> None:
    assert {load_target(n).evidence for n in ("tensorrt", "ort-arm", "qnn", "mobile")} == {"by documentation"}


@pytest.mark.parametrize(
    ("features", "profile"),
    [
        (("x86_64", "avx2", "avx512f", "avx512_vnni"), "ort-x86-vnni"),
        (("x86_64", "avx2", "avx_vnni"), "ort-x86-vnni"),
        (("x86_64", "avx2"), "ort-x86"),
        (("amd64",), "ort-x86"),  # Windows does not tell: 7 bits are right on every processor
        (("aarch64", "asimddp"), "ort-arm"),
        (("arm64",), "ort-arm"),
        (("riscv64",), "ort-x86"),
    ],
)
def test_the_processor_decides(monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], profile: str) -> None:
    monkeypatch.setattr(loading, "processor_features", lambda: features)
    found = load_target("ort-cpu")
    assert (found.name, found.profile) == ("ort-cpu", profile)
    named = load_target(profile)
    assert named.profile == "" and replace(named, name="", summary="") == replace(
        found, name="", summary="", profile=""
    )


def test_every_line_of_a_choice_names_a_profile() -> None:
    text = (resources.files("onnxcompress.targets") / "ort-cpu.toml").read_text(encoding="utf-8")
    machine = tomllib.loads(text)["machine"]
    assert set(machine.values()) == set(PROFILES) and list(machine)[-1] == "any"


def test_a_profile_extends_another_by_what_differs() -> None:
    vnni, plain, arm = (load_target(n) for n in ("ort-x86-vnni", "ort-x86", "ort-arm"))
    assert (vnni.reduce_range, plain.reduce_range, arm.activation_dtype) == (False, True, "int8")
    assert vnni.same_scale_ops == plain.same_scale_ops == arm.same_scale_ops
    assert vnni.channel_alignment == plain.channel_alignment == arm.channel_alignment


@pytest.mark.parametrize(
    ("given", "near"), [("tensor-rt", "tensorrt"), ("open_vino", "openvino"), ("ort", "ort-"), ("TensorRT", "tensorrt")]
)
def test_an_unknown_target_is_refused_with_the_nearest(given: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"unknown target '{given}': the nearest is .*{near}"):
        load_target(given)


def test_a_name_near_to_none() -> None:
    with pytest.raises(UsageError, match="Use one of: generic") as caught:
        load_target("zzz")
    assert "nearest" not in str(caught.value)


def test_without_a_list_of_flags_only_the_kind_of_processor_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "integer_extensions", lambda: None)
    assert environment.processor_features() == (platform.machine().lower(),)


def _model() -> ir.Model:
    return ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,8] x) => (float[N,8] y) {'
        " z = Relu(x) r = Relu(z) y = MatMul(r, x8) }".replace("x8", "w").replace(
            "=> (float[N,8] y) {", "=> (float[N,8] y) <float[8,8] w = {" + ", ".join(["0.5"] * 64) + "}> {"
        )
    )


def test_the_recipe_and_the_report_name_the_profile_where_it_decides_bytes() -> None:
    data = {"x": np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)}
    result = PassManager([InsertQDQ(effort="fast")]).run(_model(), data=data)
    profile = load_target("ort-cpu").profile
    assert result.recipe.settings["target"] == profile == result.report.environment["target"]
    assert f"ort-cpu is {profile} on this processor" in result.report.notes


def test_the_recipe_keeps_the_name_where_the_profile_decides_nothing() -> None:
    result = PassManager([Normalize()], allow_unchanged=True).run(_model())
    assert result.recipe.settings["target"] == "ort-cpu"
    assert not any("processor" in note for note in result.report.notes)
