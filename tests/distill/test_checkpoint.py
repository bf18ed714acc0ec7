"""Training that was stopped goes on to the same end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import model, pictures, residual, with_cut_blocks

from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.distill import checkpoint as checkpoints
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import ResourceError, UsageError
from onnxcompress.passes.base import Scope
from onnxcompress.report import Finding
from onnxcompress.runtime_options import RuntimeOptions

SETTINGS = Settings(steps=40, batch_size=32, rate=3e-3, ema=0.9, close=1.0)


class Stopped(Exception):
    """Raised to stop a run in its middle."""


def run(
    settings: Settings, stop_at: int | None = None, stop: type[BaseException] = Stopped
) -> tuple[ir.Model, list[Finding]]:
    teacher = residual()
    student = with_cut_blocks(teacher, 5)

    def progress(step: str, done: int, total: int) -> None:
        if done == stop_at:
            raise stop

    job = Job(student, teacher, pictures(400), None, settings, RuntimeOptions(threads=1), progress=progress)
    return student, distill(job)


def figures(findings: list[Finding]) -> dict[str, object]:
    numbers = next(f.numbers for f in findings if f.code in ("DISTILL-TRAINED", "DISTILL-REPAIR-ONLY"))
    return {k: v for k, v in numbers.items() if k != "seconds"}


@pytest.mark.parametrize(
    ("stop_at", "options"), [(1, {}), (17, {}), (40, {}), (22, {"bn": "revive"}), (22, {"teacher_rate": 2.0})]
)
def test_a_stopped_run_comes_to_the_same_bytes_and_the_same_curve(
    tmp_path: Path, stop_at: int, options: dict[str, Any]
):
    settings = replace(SETTINGS, **options)
    whole, told = run(replace(settings, resume=tmp_path / "whole"))
    with pytest.raises(Stopped):
        run(replace(settings, resume=tmp_path / "cut"), stop_at)
    student, findings = run(replace(settings, resume=tmp_path / "cut"))
    assert model_io.to_bytes(student) == model_io.to_bytes(whole)
    assert figures(findings) == figures(told)
    curves = [(tmp_path / name / "curve.csv").read_text() for name in ("whole", "cut")]
    assert curves[0] == curves[1]
    assert len(curves[0].splitlines()) == 11
    assert "DISTILL-RESUMED" in {f.code for f in findings}


def test_who_interrupts_a_run_is_told_where_it_is_kept(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt) as kept:
        run(replace(SETTINGS, resume=tmp_path), 17, KeyboardInterrupt)
    assert kept.value.__notes__ == [f"the training so far is in {tmp_path}: the same command goes on from there"]
    with pytest.raises(KeyboardInterrupt) as gone:
        run(SETTINGS, 17, KeyboardInterrupt)
    assert not getattr(gone.value, "__notes__", [])


def test_keeping_a_run_changes_nothing_in_it(tmp_path: Path):
    assert figures(run(SETTINGS)[1]) == figures(run(replace(SETTINGS, resume=tmp_path))[1])


@pytest.mark.parametrize("other", [{"seed": 1}, {"rate": 1e-3}, {"steps": 41}])
def test_another_run_is_not_gone_on_with(tmp_path: Path, other: dict[str, int]):
    run(replace(SETTINGS, steps=2, resume=tmp_path))
    with pytest.raises(UsageError, match="another student") as refused:
        run(replace(SETTINGS, resume=tmp_path, **{"steps": 2, **other}))
    assert refused.value.code == "USAGE-CHECKPOINT"


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x80\x04."])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UsageError, match=r"checkpoint\.pt"):
        run(replace(SETTINGS, resume=tmp_path))


@pytest.mark.parametrize("key", ["course", "stepper", "seconds", "pace", "rate", "first", "follower"])
@pytest.mark.parametrize("value", ["gone", None, {}])
def test_a_checkpoint_of_another_make_is_refused(tmp_path: Path, key: str, value: object):
    if (key, value) == ("first", {}):
        value = 1
    settings = replace(SETTINGS, steps=2, teacher_rate=1.0, resume=tmp_path)
    run(settings)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    saved["state"][key] = value
    if value == "gone":
        del saved["state"][key]
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(UsageError, match="cannot resume"):
        run(settings)


@pytest.mark.parametrize(("steps", "rate"), [(-1, 0.1), (2, float("nan")), (2, -1.0)])
def test_a_step_or_a_rate_that_is_none_is_refused(tmp_path: Path, steps: int, rate: float):
    settings = replace(SETTINGS, steps=2, resume=tmp_path)
    run(settings)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    saved["state"]["course"]["training"]["steps"], saved["state"]["rate"] = steps, rate
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(UsageError, match="its step or its rate is none"):
        run(settings)


TEXT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 2] x) => (float[N, 2] y) { w = Constant <value_floats = [1.0, {W}]> ()  h = Mul (x, w)  y = {OP} (h) }"""


def net(weight: str = "2.0", op: str = "Relu") -> ir.Model:
    return model(TEXT.replace("{W}", weight).replace("{OP}", op), {})


def kept(**changed: Any) -> str:
    data = {name: changed.pop(name, None) for name in ("labels", "held_out")}
    x, y = pictures(8).read(range(8))["x"], np.arange(8) if data["labels"] is None else data["labels"]
    ours: dict[str, Any] = {"student": net(), "teacher": net(), "held_out": data["held_out"], **changed}
    return checkpoints.fingerprint(Job(data=ArraySource({"x": x}, y), settings=Settings(), **ours), 1)


def test_a_run_is_known_by_all_that_goes_into_it() -> None:
    assert kept() == kept()
    others = [
        kept(student=net("3.0")), kept(teacher=net("3.0")), kept(teacher=net(op="Tanh")), kept(labels=np.ones(8)),
        kept(held_out=pictures(4)), kept(scope=Scope(only=("op:Mul",))),
    ]  # fmt: skip
    assert len({kept(), *others}) == 1 + len(others)


def test_a_run_over_other_nodes_is_another_run(tmp_path: Path):
    teacher = residual()
    for number, scope in enumerate((Scope(), Scope(exclude=("op:Gemm",)))):
        settings = replace(SETTINGS, steps=2, resume=tmp_path)
        student = with_cut_blocks(teacher, 5)
        job = Job(student, teacher, pictures(400), None, settings, RuntimeOptions(threads=1), scope)
        if number:
            with pytest.raises(UsageError, match="made with another student"):
                distill(job)
        else:
            distill(job)


def test_a_checkpoint_runs_no_code(tmp_path: Path):
    import torch

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"version": 1, "work": "", "state": Hostile()}, tmp_path / "checkpoint.pt")
    with pytest.raises(UsageError):
        checkpoints.Checkpoint(tmp_path, "").load()
    assert not (tmp_path / "made").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot keep"):
        run(replace(SETTINGS, resume=tmp_path / "file"))


@pytest.mark.ci
def test_a_killed_command_resumes_to_the_same_file(tmp_path: Path):
    teacher = residual()
    model_io.save(teacher, tmp_path / "teacher.onnx")
    model_io.save(with_cut_blocks(teacher, 5), tmp_path / "student.onnx")
    np.savez(tmp_path / "data.npz", **pictures(400).read(range(400)))

    def command(name: str, folder: str) -> list[str]:
        paths = [str(tmp_path / n) for n in ("student.onnx", "teacher.onnx", "data.npz", name, folder)]
        flags = ["--teacher", paths[1], "--data", paths[2], "-o", paths[3], "--resume", paths[4]]
        return [
            sys.executable, "-m", "onnxcompress", "distill", paths[0], *flags, "--steps", "400", "--threads", "1",
            "--quiet", "--close", "1",
        ]  # fmt: skip

    subprocess.run(command("whole.onnx", "whole"), check=True, timeout=300)
    victim = subprocess.Popen(command("cut.onnx", "cut"))
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut/curve.csv").exists() or len((tmp_path / "cut/curve.csv").read_text().splitlines()) < 4:
        assert victim.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "cut.onnx").exists()
    subprocess.run(command("cut.onnx", "cut"), check=True, timeout=300)
    assert (tmp_path / "cut.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    assert (tmp_path / "cut/curve.csv").read_text() == (tmp_path / "whole/curve.csv").read_text()
