from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from builders.command_line import CommandLine
from builders.pruning_models import net

from onnxcompress import model_io


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    text = "g (float[N,8] x) => (float[N,4] y) { a = Gemm(x, w0) r = Relu(a) b = Gemm(r, w1) y = Gemm(b, w2) }"
    path = tmp_path / "dense.onnx"
    model_io.save(net(text, {"w0": (8, 16), "w1": (16, 12), "w2": (12, 4)}), path)
    return path


def test_explain_lists_all_groups_and_writes_nothing(cli: CommandLine, dense: Path) -> None:
    before = sorted(dense.parent.iterdir())
    done = cli("prune", dense, "--explain", "--ratio", "0.25")
    assert done.code == 0
    assert sorted(dense.parent.iterdir()) == before
    assert "read by b" in done.out
    assert "PRUNE-FROZEN-OUTPUT" in done.out
    assert "--allow-output y" in done.out
    assert "28 of 32 channels are free; 4 must stay: 4 PRUNE-FROZEN-OUTPUT" in done.out
    assert "this request would cut 7 of 28 channels" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_explain_as_json(cli: CommandLine, dense: Path) -> None:
    found = json.loads(cli("prune", dense, "--explain", "--ratio", "0.25", "--json").out)
    assert found["schema"] == "onnxcompress.prune-explanation/1"
    first = found["groups"][0]
    assert (first["name"], first["consumers"], first["channels"], first["removed"]) == ("a", ["b"], 16, 4)
    assert first["tensors"] == ["a", "r"]
    assert first["macs_share"] == pytest.approx((8 * 16 + 16 * 12) / (8 * 16 + 16 * 12 + 12 * 4))
    assert found["held"][0]["option"].startswith("--allow-output y")


def test_explain_says_which_option_would_free_a_layer(cli: CommandLine, dense: Path) -> None:
    found = json.loads(cli("prune", dense, "--explain", "--ratio", "0.25", "--exclude", "b", "--json").out)
    assert {h["name"]: h["option"] for h in found["held"]}["b"] == "leave it out of --exclude, or add it to --only"


def test_a_plan_is_written_and_replayed_to_the_same_bytes(cli: CommandLine, dense: Path) -> None:
    plan, first, second = (dense.parent / name for name in ("plan.json", "first.onnx", "second.onnx"))
    assert cli("prune", dense, "--ratio", "0.5", "--plan-out", plan, "-o", first, "--no-stamp").code == 0
    assert json.loads(plan.read_text())["schema"] == "onnxcompress.prune-plan/1"
    assert cli("prune", dense, "--plan", plan, "-o", second, "--no-stamp").code == 0
    assert first.read_bytes() == second.read_bytes()
    refused = cli("prune", dense, "--ratio", "0.5", "--plan-out", plan, "-o", dense.parent / "third.onnx")
    assert refused.code == 2
    assert not (dense.parent / "third.onnx").exists(), "the plan is in the way, which is seen before any work"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--ratio", "1.5"), 2, "--ratio 1.5 is out of range"),
        (("--ratio", "nan"), 2, "--ratio nan is out of range"),
        (("--target-macs", "0.01x"), 5, "cannot be met"),
        (("--layer", "aa=0.3"), 2, "the nearest is a"),
        (("--layer", "op:Gem=0.3"), 2, "the nearest is op:Gemm"),
        (("--layer", "r=0.3"), 2, "r only passes on what others make"),
        (("--ratio", "0.5", "--exclude", "op:Gemm"), 5, "32 of 32 channels must stay"),
        (("--plan", "nowhere.json"), 2, "cannot use the plan"),
    ],
)
def test_bad_input_is_one_paragraph_and_writes_nothing(
    cli: CommandLine, dense: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = cli("prune", dense, *arguments)
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in dense.parent.iterdir()] == ["dense.onnx"]


def test_a_target_out_of_reach_can_be_taken_as_far_as_it_goes(cli: CommandLine, dense: Path) -> None:
    out = dense.parent / "small.onnx"
    assert cli("prune", dense, "--target-macs", "0.01x", "--allow-miss", "-o", out).code == 0
    assert onnx.load(out).graph.node
