"""Two processes under torchrun take the same steps as one, on the same global batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders.torchrun import ALONE, TWO, start

STEPS, UNEVEN = 20, 33
TRAIN = f"""
import os, sys
import numpy as np
from builders.distill_models import pictures, residual, with_cut_blocks
from builders.quantized_models import quantized
from onnxcompress.distill import batches, distillation
from onnxcompress.distill.settings import Settings
from onnxcompress.runtime_options import RuntimeOptions

kind, optimizer, place = *sys.argv[1:3], os.environ.get("RANK", sys.argv[3])
if place == "parts":
    runs = batches.Batches._runs

    def in_parts(self, chosen, step):
        self._world = 2
        return [run for self._rank in (0, 1) for run in runs(self, chosen, step)]

    batches.Batches._runs = in_parts
write_back = distillation.write_back

def keep(student, bridge, start):
    trained = [w.role for w, p in zip(bridge.weights, bridge.parameters) if p.requires_grad]
    tensors = [p.detach().numpy() for p in bridge.parameters if p.requires_grad]
    np.savez(place, *(tensors + [np.array(trained)]))
    return write_back(student, bridge, start)

distillation.write_back = keep
teacher = residual()
student = quantized(teacher, 4) if kind == "quantized" else with_cut_blocks(teacher, 5)
loss = "wt" if kind == "learned" else "auto"
settings = Settings(steps={STEPS}, batch_size={UNEVEN}, rate=float(sys.argv[4]), optimizer=optimizer, loss=loss)
job = distillation.Job(student, teacher, pictures(200), pictures(200, seed=5), settings, RuntimeOptions(threads=1))
distillation.distill(job)
"""


def trained(folder: Path, name: str) -> list[np.ndarray]:
    with np.load(folder / f"{name}.npz") as file:
        return [file[key] for key in file.files]


def run(folder: Path, kind: str, optimizer: str, rate: float, alone: str) -> list[list[np.ndarray]]:
    """Trained tensors of one process, of the first of two and of the second; their roles behind them."""
    (folder / "train.py").write_text(TRAIN)
    for launcher in (ALONE, TWO):
        done = start(launcher, "train.py", kind, optimizer, alone, str(rate), folder=folder)
        assert done.returncode == 0, done.stderr[-2000:]
    return [trained(folder, name) for name in (alone, "0", "1")]


@pytest.mark.ci
@pytest.mark.parametrize(("kind", "rate"), [("pruned", 3e-3), ("quantized", 3e-4), ("learned", 3e-3)])
def test_two_processes_take_the_steps_of_one_that_adds_the_same_parts(tmp_path: Path, kind: str, rate: float) -> None:
    """To the last bit, trained scales of Q/DQ nodes among them, also where the loss learns a matrix along."""
    (*alone, roles), (*first, _), (*second, _) = run(tmp_path, kind, "adamw", rate, "parts")
    assert ("scale" in roles.tolist()) == (kind == "quantized")
    for one, mine, other in zip(alone, first, second, strict=True):
        np.testing.assert_array_equal(mine, other)
        np.testing.assert_array_equal(mine, one)


@pytest.mark.ci
def test_two_processes_equal_one_that_takes_the_batch_at_once(tmp_path: Path) -> None:
    """Up to the order of sums, relative to the largest number of a tensor.

    AdamW takes whole steps along gradients that are nothing but such rounding, and a rounding to the grid of Q/DQ may
    fall to the other side: there the order of sums shows, with several processes and without.
    """
    (*alone, _), (*first, _), (*second, _) = run(tmp_path, "pruned", "sgd", 1e-2, "alone")
    for one, mine, other in zip(alone, first, second, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert np.abs(mine - one).max() <= 1e-5 * np.abs(one).max()
