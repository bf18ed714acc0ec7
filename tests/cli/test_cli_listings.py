from __future__ import annotations

import json

import pytest
from builders.command_line import CommandLine

from onnxcompress.registry import pass_names
from onnxcompress.targets import target_names


def test_passes_lists_all_and_shows_one(cli: CommandLine) -> None:
    outcome = cli("passes")
    assert [line.split()[0] for line in outcome.out.splitlines()] == pass_names()
    assert "fold = True  (true or false)" in cli("passes", "normalize").out
    assert cli("passes", "nosuch").code == 2


def test_passes_as_json(cli: CommandLine) -> None:
    listed = json.loads(cli("passes", "--json").out)
    assert [entry["name"] for entry in listed] == pass_names()
    one = json.loads(cli("passes", "normalize", "--json").out)
    assert one["effect"] == "exact"
    assert {"name": "fold", "flag": "--fold", "default": True}.items() <= one["options"][0].items()


def test_targets_lists_all_and_shows_one(cli: CommandLine) -> None:
    assert [line.split()[0] for line in cli("targets").out.splitlines()] == target_names()
    shown = cli("targets", "tensorrt").out.splitlines()
    assert ["activation_symmetric", "yes"] in [line.split() for line in shown]
    assert [t["name"] for t in json.loads(cli("targets", "--json").out)] == target_names()
    assert json.loads(cli("targets", "ort-cpu", "--json").out)["activation_dtype"] == "uint8"
    assert cli("targets", "nosuch").code == 2


def test_doctor_names_versions_providers_and_the_machine(cli: CommandLine) -> None:
    facts = json.loads(cli("doctor", "--json").out)
    assert facts["onnx-ir"] not in ("", "not installed")
    assert "CPUExecutionProvider" in facts["execution providers"]
    assert facts["processor threads"] >= 1
    assert facts["passes"] == pass_names()
    text = cli("doctor").out
    assert "onnxruntime" in text
    assert "free disk here" in text


def test_doctor_says_how_to_get_torch(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcompress.cli.doctor.util.find_spec", lambda name: None)
    assert "onnxcompress[distill]" in cli("doctor").out
