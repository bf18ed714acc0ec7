from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders.command_line import CommandLine


@pytest.fixture
def folded(cli: CommandLine, model: Path) -> Path:
    target = model.with_name("folded.onnx")
    assert cli("run", "fold-batchnorm", model, "-o", target, "-q").code == 0
    return target


def test_without_data_only_costs_and_it_says_so(cli: CommandLine, model: Path, folded: Path) -> None:
    outcome = cli("compare", model, folded)
    assert (outcome.code, outcome.err) == (0, "")
    assert "nodes" in outcome.out
    assert "NOT compared: give --data" in outcome.out


def test_with_data_and_labels(cli: CommandLine, model: Path, folded: Path) -> None:
    samples = model.with_name("samples.npz")
    x = np.random.default_rng(0).normal(size=(12, 2, 4, 4)).astype(np.float32)
    np.savez(samples, x=x)
    report = json.loads(cli("compare", model, folded, "--data", samples, "--latency", "--json").out)
    assert report["quality"]["samples"] == 12
    assert report["quality"]["relative_l2"] < 1e-5
    assert report["latency"]["runs"][0]["models"]["before"]["ms"] > 0


def test_the_report_file(cli: CommandLine, model: Path, folded: Path) -> None:
    page = model.with_name("compare.html")
    assert cli("compare", model, folded, "--report", page).code == 0
    assert "<!doctype html>" in page.read_text(encoding="utf-8")
    outcome = cli("compare", model, folded, "--report", page)
    assert outcome.code == 2
    assert "--force" in outcome.err


def test_models_without_a_common_output(cli: CommandLine, model: Path, tmp_path: Path) -> None:
    from builders.command_line import BATCHNORM, write_model

    other = write_model(tmp_path / "other.onnx", BATCHNORM.replace("4] y)", "4] z)").replace("[act] y", "[act] z"))
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.ones((4, 2, 4, 4), np.float32))
    outcome = cli("compare", model, other, "--data", samples)
    assert (outcome.code, outcome.out) == (3, "")
    assert "no output name in common" in outcome.err


def test_eval_data_is_refused_not_ignored(cli: CommandLine, model: Path, folded: Path) -> None:
    outcome = cli("compare", model, folded, "--eval-data", "samples.npz")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--data" in outcome.err
