"""Two processes under torchrun take the same steps as one, on the same global batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders.distill_models import array

from onnxcompress import model_io

STEPS, UNEVEN = 20, 33
SCRIPT = """
import os, sys
sys.path.insert(0, {tests!r})
from builders.distill_models import pictures, residual, with_cut_blocks
from onnxcompress import model_io
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.runtime_options import RuntimeOptions

teacher = residual()
student = with_cut_blocks(teacher, 5)
settings = Settings(steps={steps}, batch_size={batch}, rate=3e-3)
distill(Job(student, teacher, pictures(200), pictures(200, seed=5), settings, RuntimeOptions(threads=1)))
model_io.save(student, sys.argv[1] + os.environ.get("RANK", "alone") + ".onnx")
"""


def train(folder: Path, launcher: list[str]) -> None:
    script = folder / "train.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent.parent), steps=STEPS, batch=UNEVEN))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), f"{folder}/"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.ci
def test_two_processes_equal_one(tmp_path):
    train(tmp_path, [])
    train(tmp_path, ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"])
    alone, first, second = (model_io.load(tmp_path / f"{name}.onnx") for name in ("alone", "0", "1"))
    for name in alone.graph.initializers:
        np.testing.assert_array_equal(array(first, name), array(second, name))
        np.testing.assert_allclose(array(first, name), array(alone, name), atol=1e-5)
