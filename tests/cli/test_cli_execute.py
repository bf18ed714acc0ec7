from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders.command_line import CommandLine, write_model

from onnxcompress.recipe import parse_recipe


def test_stdout_is_the_path_and_stderr_the_table(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model)
    target = model.with_name("model.compressed.onnx")
    assert (outcome.code, outcome.out) == (0, f"{target}\n")
    assert "fold-batchnorm" in outcome.err
    assert "before" in outcome.err
    assert [node.op_type for node in onnx.load(target).graph.node] == ["Conv", "Relu"]


def test_json_is_the_report_and_the_path(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model, "--json", "-o", model.with_name("out.onnx"))
    report = json.loads(outcome.out)
    assert report["output"] == str(model.with_name("out.onnx"))
    assert report["schema"] == "onnxcompress.report/1"
    assert (report["before"]["nodes"], report["after"]["nodes"]) == (3, 2)


def test_quiet_says_nothing_on_stderr(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model, "-q")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("model.compressed.onnx\n")


def test_nothing_is_overwritten_without_force(cli: CommandLine, model: Path) -> None:
    target = model.with_name("model.compressed.onnx")
    target.write_bytes(b"old")
    outcome = cli("run", "fold-batchnorm", model)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--force" in outcome.err
    assert target.read_bytes() == b"old"
    assert cli("run", "fold-batchnorm", model, "--force").code == 0
    assert len(onnx.load(target).graph.node) == 2


def test_the_input_is_never_overwritten(cli: CommandLine, model: Path) -> None:
    before = model.read_bytes()
    link = model.with_name("link.onnx")
    link.symlink_to(model)
    for target in (model, link):
        outcome = cli("run", "fold-batchnorm", model, "-o", target, "--force")
        assert outcome.code == 2
        assert "is the input" in outcome.err
    assert model.read_bytes() == before


def test_a_missing_output_folder_is_said_before_the_work(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model, "-o", model.parent / "none" / "out.onnx")
    assert (outcome.code, outcome.out) == (6, "")
    assert "none" in outcome.err


def test_dry_run_prints_a_recipe_that_reads_back_and_writes_nothing(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "normalize", model, "--set", "fold=false", "--target", "tensorrt", "--seed", "3", "--dry-run")
    recipe = parse_recipe(outcome.out)
    assert recipe.entries() == [{"pass": "normalize", "fold": False}]
    assert recipe.settings == {"target": "tensorrt", "seed": 3}
    assert [p.name for p in model.parent.iterdir()] == ["model.onnx"]


def test_a_dry_run_keeps_the_scope_and_its_recipe_makes_the_same_file(cli: CommandLine, model: Path) -> None:
    flags = ("--only", "op:Conv", "--exclude", "re:none.*|.*", "--only", "re:.*")
    recipe = model.with_name("recipe.toml")
    recipe.write_text(cli("quantize", model, *flags, "--dry-run").out, encoding="utf-8")
    assert parse_recipe(recipe.read_text(encoding="utf-8")).settings == {
        "only": ["op:Conv", "re:.*"],
        "exclude": ["re:none.*|.*"],
    }
    made = [model.with_name("flags.onnx"), model.with_name("recipe.onnx")]
    assert cli("quantize", model, *flags, "--allow-unchanged", "-o", made[0]).code == 0
    assert cli("run", recipe, model, "--allow-unchanged", "-o", made[1]).code == 0
    assert made[0].read_bytes() == made[1].read_bytes()
    stamped = {entry.key: entry.value for entry in onnx.load(made[0]).metadata_props}
    assert any("re:none.*|.*" in value for value in stamped.values())


@pytest.mark.parametrize("suffix", ["html", "json"])
def test_the_report_is_written_beside(cli: CommandLine, model: Path, suffix: str) -> None:
    report = model.with_name(f"report.{suffix}")
    assert cli("run", "fold-batchnorm", model, "--report", report).code == 0
    assert "fold-batchnorm" in report.read_text(encoding="utf-8")
    outcome = cli("run", "fold-batchnorm", model, "--report", report, "-o", model.with_name("b.onnx"))
    assert outcome.code == 2
    assert not model.with_name("b.onnx").exists()


def test_a_report_of_another_kind_is_refused_before_the_work(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model, "--report", model.with_name("report.pdf"))
    assert outcome.code == 2
    assert "FILE.html or FILE.json" in outcome.err
    assert not model.with_name("model.compressed.onnx").exists()


def test_a_run_that_changes_nothing_exits_5_unless_allowed(cli: CommandLine, model: Path) -> None:
    plain = write_model(
        model.with_name("plain.onnx"),
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (float[2] y) { y = Relu(x) }',
    )
    target = plain.with_name("plain.compressed.onnx")
    outcome = cli("run", "fold-batchnorm", plain)
    assert (outcome.code, outcome.out) == (5, "")
    assert "--allow-unchanged" in outcome.err
    assert not target.exists()
    assert cli("run", "fold-batchnorm", plain, "--allow-unchanged").code == 0
    assert target.exists()


def test_the_stamp_and_its_absence(cli: CommandLine, model: Path) -> None:
    stamped, bare = model.with_name("a.onnx"), model.with_name("b.onnx")
    assert cli("run", "fold-batchnorm", model, "-o", stamped).code == 0
    assert cli("run", "fold-batchnorm", model, "-o", bare, "--no-stamp").code == 0
    keys = [entry.key for entry in onnx.load(stamped).metadata_props]
    assert any(key.startswith("onnxcompress") for key in keys)
    assert not onnx.load(bare).metadata_props
    assert cli("run", "fold-batchnorm", model, "-o", stamped, "--force").code == 0
    assert [entry.key for entry in onnx.load(stamped).metadata_props] == keys


def test_the_same_command_writes_the_same_bytes(cli: CommandLine, model: Path) -> None:
    targets = [model.with_name(f"{i}.onnx") for i in range(2)]
    assert all(cli("run", "fold-batchnorm", model, "-o", target).code == 0 for target in targets)
    assert targets[0].read_bytes() == targets[1].read_bytes()


def test_latency_is_measured_when_asked_for(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model, "--latency", "--threads", "1", "--json", "--shape", "x:1x2x4x4")
    runs = json.loads(outcome.out)["latency"]["runs"]
    assert runs[0]["batch"] == 1
    assert runs[0]["models"]["after"]["ms"] > 0


def test_data_measures_and_a_gate_without_data_is_a_usage_error(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model, "--max-drop", "1pt")
    assert outcome.code == 2
    assert "--data" in outcome.err
    samples = model.with_name("samples.npz")
    np.savez(samples, x=np.random.default_rng(0).normal(size=(20, 2, 4, 4)).astype(np.float32))
    outcome = cli("run", "fold-batchnorm", model, "--data", samples, "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["quality"]["samples"] == 4  # a fifth is held out


def test_a_script_that_prints_does_not_spoil_the_result(cli: CommandLine, model: Path) -> None:
    script = model.with_name("feed.py")
    script.write_text(
        "import numpy as np\ndef load():\n    print('loading')\n    return {'x': np.ones((10, 2, 4, 4), np.float32)}\n"
    )
    outcome = cli("run", "fold-batchnorm", model, "--data", f"{script}:load", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["quality"]["samples"] == 2
    assert "loading" in outcome.err


def test_a_pattern_that_matches_nothing_is_an_error(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "fold-batchnorm", model, "--exclude", "nosuchnode")
    assert (outcome.code, outcome.out) == (2, "")
    assert "nosuchnode" in outcome.err


NOTHING = """
from dataclasses import dataclass
from onnxcompress import Effect, Finding, Pass

@dataclass(frozen=True, kw_only=True)
class Nothing(Pass):
    "Do nothing."
    name = "nothing"
    effect = Effect.LOSSY

    def run(self, model, ctx):
        yield Finding("NOTHING-DONE", "there was nothing to do", "norm")
"""


@pytest.fixture
def nothing(model: Path) -> str:
    """A lossy pass that reports one finding and changes nothing."""
    model.with_name("nothing.py").write_text(NOTHING)
    return f"{model.with_name('nothing.py')}:Nothing"


def test_the_findings_of_a_run_that_failed_are_shown_with_v(cli: CommandLine, model: Path, nothing: str) -> None:
    outcome = cli("run", "nothing", model, "--pass", nothing, "--verbose")
    assert outcome.code == 5
    assert "norm: there was nothing to do" in outcome.err
    assert "norm: there was nothing to do" not in cli("run", "nothing", model, "--pass", nothing).err


def test_a_lossy_run_without_data_says_first_that_accuracy_is_not_measured(
    cli: CommandLine, model: Path, nothing: str
) -> None:
    outcome = cli("run", "nothing", model, "--pass", nothing, "--allow-unchanged")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: accuracy will NOT be measured: give --data")
