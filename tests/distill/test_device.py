"""Devices: what is asked for is there or refused with the reason, and what is made lies on the one that was chosen.

There is no GPU in these tests: that new tensors follow the device is shown with torch's ``meta``, without numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_models import pictures, residual, with_cut_blocks

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.device import computing, device_for
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.settings import Settings
from onnxcompress.distill.taps import Tap
from onnxcompress.distill.teacher import Teacher
from onnxcompress.distill.torch_teacher import TorchTeacher, open_teacher
from onnxcompress.errors import UsageError
from onnxcompress.runtime_options import RuntimeOptions

CPU = torch.device("cpu")


def test_the_processor_is_always_there() -> None:
    assert device_for("cpu") == CPU


def test_auto_is_the_processor_where_torch_sees_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_for("auto") == CPU


def test_cuda_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UsageError, match="is built without CUDA\\. Use --device cpu") as built:
        device_for("cuda")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(UsageError, match="torch sees no CUDA device"):
        device_for("cuda")
    assert built.value.code == "USAGE-DEVICE"


def test_each_process_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_for("auto") == device_for("cuda") == torch.device("cuda", 1)


def test_what_is_made_lies_on_the_device() -> None:
    with computing(0, torch.device("meta")):
        assert to_torch(np.zeros(3, np.float32)).is_meta
        assert all(tensor.is_meta for tensor in Bridge(residual()).parameters)
    assert not to_torch(np.zeros(3, np.float32)).is_meta


def test_a_teacher_in_torch_gives_the_tensors_of_one_in_onnxruntime() -> None:
    model, feeds = residual(), pictures(8).read(range(8))
    taps = [Tap("r1", {1: np.array([0, 3, 4])}), Tap("block2")]
    names = ["logits", *(tap.name for tap in taps)]
    wanted = Teacher(model, names, taps).tensors(feeds)
    made = TorchTeacher(model, names, taps).tensors(feeds)
    assert list(made) == list(wanted)
    for name, tensor in wanted.items():
        assert not made[name].requires_grad
        np.testing.assert_allclose(made[name], tensor, rtol=1e-4, atol=1e-4)


def test_who_runs_the_teacher() -> None:
    options = RuntimeOptions()
    kinds = [type(open_teacher(backend, residual(), ["logits"], (), options)) for backend in ("auto", "ort", "torch")]
    assert kinds == [Teacher, Teacher, TorchTeacher]


def test_both_teachers_lead_to_the_same_student() -> None:
    figures: list[float] = []
    for backend in ("ort", "torch"):
        student, settings = with_cut_blocks(residual(), 5), Settings(steps=20, rate=1e-3, teacher_backend=backend)
        findings = distill(Job(student, residual(), pictures(200), pictures(200, seed=5), settings))
        figures += [float(f.numbers["error_after"]) for f in findings if f.code == "DISTILL-TRAINED"]
    assert figures[0] == pytest.approx(figures[1], rel=1e-2)
