"""`distill` with data, teachers and options that do not do: one line, the right exit code, and nothing written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders.command_line import CommandLine, Outcome
from builders.distill_models import pictures, residual, with_cut_blocks

from onnxcompress import model_io

pytest.importorskip("torch")
FILES = {"teacher.onnx", "student.onnx", "d.npz"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    teacher = residual()
    model_io.save(teacher, tmp_path / "teacher.onnx")
    model_io.save(with_cut_blocks(teacher, 5), tmp_path / "student.onnx")
    np.savez(tmp_path / "d.npz", x=pictures(60).read(range(60))["x"])
    return tmp_path


def distill(cli: CommandLine, folder: Path, *more: str, data: str = "d.npz", teacher: str = "teacher.onnx") -> Outcome:
    spec = data if data.startswith("random:") else folder / data
    words = ("--teacher", folder / teacher, "--data", spec, "-o", folder / "out.onnx", "--threads", "1")
    return cli("distill", folder / "student.onnx", *words, *more)


def refused(outcome: Outcome, folder: Path, code: int, *words: str) -> None:
    last = outcome.err.splitlines()[-1]
    assert (outcome.code, outcome.out, last[:7]) == (code, "", "error: ")
    assert [word for word in words if word not in last] == []
    assert "Traceback" not in outcome.err
    assert not (folder / "out.onnx").exists()


def test_too_few_samples_are_refused_with_the_number_needed(cli: CommandLine, folder: Path) -> None:
    np.savez(folder / "few.npz", x=pictures(5).read(range(5))["x"])
    refused(distill(cli, folder, data="few.npz"), folder, 4, "there are 5", "at least 8", "labels are not needed")


def test_a_spoiled_sample_is_named(cli: CommandLine, folder: Path) -> None:
    x = pictures(60).read(range(60))["x"]
    x[17] = np.inf
    np.savez(folder / "bad.npz", x=x)
    refused(distill(cli, folder, data="bad.npz"), folder, 4, "sample 17 of input 'x'")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--lr", "nan"), 2, "option lr"),
        (("--lr", "0"), 2, "option lr"),
        (("--batch-size", "0"), 2, "option batch_size"),
        (("--steps", "-1"), 2, "option steps"),
        (("--steps", "0"), 5, "--steps 0"),
    ],
)
def test_options_that_make_no_sense(
    cli: CommandLine, folder: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    refused(distill(cli, folder, *words), folder, code, told)


def test_a_teacher_that_is_cut_short_or_missing_is_told_before_any_work(cli: CommandLine, folder: Path) -> None:
    (folder / "cut.onnx").write_bytes((folder / "teacher.onnx").read_bytes()[:3000])
    refused(distill(cli, folder, teacher="cut.onnx"), folder, 3, "truncated")
    refused(distill(cli, folder, teacher="none.onnx"), folder, 3, "there is no file")


def test_a_teacher_that_cannot_be_paired_is_told_with_the_flag(cli: CommandLine, folder: Path) -> None:
    proto = onnx.load(folder / "teacher.onnx")
    proto.graph.input.append(onnx.helper.make_tensor_value_info("state", 1, ["N", 4]))
    proto.graph.node.append(onnx.helper.make_node("Identity", ["state"], ["state2"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("state2", 1, ["N", 4]))
    onnx.save(proto, folder / "two.onnx")
    refused(distill(cli, folder, teacher="two.onnx"), folder, 3, "'state'", "--map-teacher")


def test_a_teacher_of_other_names_teaches_to_the_end(cli: CommandLine, folder: Path) -> None:
    proto = onnx.load(folder / "teacher.onnx")
    proto.graph.input[0].name = "image"
    for node in proto.graph.node:
        node.input[:] = ["image" if name == "x" else name for name in node.input]
    onnx.save(proto, folder / "renamed.onnx")
    outcome = distill(cli, folder, "--steps", "5", "--lr", "1e-3", teacher="renamed.onnx")
    assert outcome.code == 0
    assert "measured against the input" in outcome.err
    assert "5 steps, equal classes" in outcome.err


def test_the_same_file_twice_is_told(cli: CommandLine, folder: Path) -> None:
    refused(distill(cli, folder, teacher="student.onnx"), folder, 5, "the same model")


def test_a_folder_that_is_not_there_is_told_before_any_work(cli: CommandLine, folder: Path) -> None:
    outcome = distill(cli, folder, "-o", str(folder / "none" / "out.onnx"))
    refused(outcome, folder, 6, "there is no folder")
    assert "distill:" not in outcome.err


def test_without_torch_the_line_that_installs_it_comes_before_any_work(
    cli: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    outcome = distill(cli, folder)
    refused(outcome, folder, 2, "torch is not installed", "pip install 'onnxcompress[distill]'")
    assert outcome.err.count("\n") == 1


def test_made_up_samples_are_told_twice(cli: CommandLine, folder: Path) -> None:
    outcome = distill(cli, folder, "--steps", "5", "--allow-unchanged", data="random:60")
    assert outcome.code == 0
    assert "DISTILL-NOISE" in outcome.err
    assert outcome.err.count("the samples are random numbers") == 1


@pytest.mark.parametrize(
    ("stop", "code", "told"), [(KeyboardInterrupt(), 130, "interrupted"), (MemoryError(), 6, "--batch-size 32")]
)
def test_a_training_that_is_cut_short_leaves_nothing(
    cli: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, code: int, told: str
) -> None:
    from onnxcompress.distill.trainer import Trainer

    def end(self: Trainer, *given: object, **named: object) -> None:
        raise stop

    monkeypatch.setattr(Trainer, "train", end)
    refused(distill(cli, folder, "--steps", "5", "--lr", "1e-3"), folder, code, told)
    assert {path.name for path in folder.iterdir()} == FILES
