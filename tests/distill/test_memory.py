"""Out of memory: one error, with a batch size to try."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from builders.distill_models import pictures, residual, with_cut_blocks

from onnxcompress.distill import distillation
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.memory import memory_told
from onnxcompress.distill.settings import Settings
from onnxcompress.distill.trainer import Trainer
from onnxcompress.errors import ResourceError
from onnxcompress.runtime_options import RuntimeOptions


def torch_says_so() -> None:
    torch.empty(1 << 50)


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "fail",
    [
        torch_says_so,
        raising(MemoryError()),
        raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
        raising(ResourceError("cannot run the model", code="RESOURCE-MEMORY")),
        raising(RuntimeError("std::bad_alloc")),
    ],
)
def test_every_way_to_run_out_of_memory_is_one_error(fail: Callable[[], None]):
    with pytest.raises(ResourceError, match="memory was not enough") as caught, memory_told(64):
        fail()
    assert caught.value.where == "batch size 64"
    assert "--batch-size 32" in caught.value.hint


def test_one_sample_that_is_too_large_gets_other_advice():
    with pytest.raises(ResourceError) as caught, memory_told(1):
        raise MemoryError
    assert "--batch-size" not in caught.value.hint


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2"), ResourceError("no space", code="SAVE-FULL"), KeyError()]
)
def test_other_errors_pass(error: Exception):
    with pytest.raises(type(error)) as caught, memory_told(64):
        raise error
    assert caught.value is error


def test_a_training_that_runs_out_says_so(monkeypatch: pytest.MonkeyPatch):
    def run_out(self: Trainer, *given: object) -> None:
        torch_says_so()

    monkeypatch.setattr(distillation.Trainer, "train", run_out)
    teacher = residual()
    settings = Settings(steps=3, batch_size=16, rate=1e-3)
    with pytest.raises(ResourceError, match="Try --batch-size 8"):
        distill(Job(with_cut_blocks(teacher, 5), teacher, pictures(50), None, settings, RuntimeOptions(threads=1)))
