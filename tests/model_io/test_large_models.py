"""Models with more weights than memory should hold: mapped, edited and written piece by piece."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from builders.io_models import external, info, model
from onnx import helper, numpy_helper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA, the limit of private memory")

# Loads, edits one small tensor and saves, with private memory limited to what the imports took and a little more.
EDITOR = """
import resource, sys
import numpy as np, onnx, onnx_ir as ir
from onnxcompress.model_io import fingerprint, load, save
load(sys.argv[3])
used = int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) << 10
allowed = used + int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
edited = load(sys.argv[1])
before = fingerprint(edited)
edited.graph.initializers["small"].const_value = ir.tensor(np.full(4, 7, np.float32), name="small")
again = load(save(edited, sys.argv[2]))
assert fingerprint(again) == fingerprint(edited) != before
assert again.graph.initializers["small"].const_value.numpy().tolist() == [7, 7, 7, 7]
big = again.graph.initializers["big1"].const_value.numpy()
assert big[-1] == 3.5 and big[0] == 0
"""


def _edit_with_little_memory(folder: Path, numbers: int, spare: int) -> None:
    """Two big tensors over one sparse file, edited with `spare` bytes of memory above the imports."""
    import numpy as np

    with (folder / "w.bin").open("wb") as file:
        file.truncate(2 * numbers * 4)
        file.seek(2 * numbers * 4 - 4)
        file.write(np.float32(3.5).tobytes())
    big = [external(f"big{n}", [numbers], location="w.bin", offset=n * numbers * 4) for n in (0, 1)]
    nodes = [helper.make_node("Add", ["big0", "big1"], ["s"]), helper.make_node("Add", ["x", "small"], ["y"])]
    small = numpy_helper.from_array(np.zeros(4, np.float32), "small")
    source = folder / "m.onnx"
    source.write_bytes(model(nodes, [info("x", 4)], [info("y", 4)], [*big, small]).SerializeToString())
    tiny = folder / "tiny.onnx"
    tiny.write_bytes(model([], [], [], [small]).SerializeToString())
    command = [sys.executable, "-c", EDITOR, str(source), str(folder / "out.onnx"), str(tiny), str(spare)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (data,) = folder.glob("out.*.data")
    assert data.stat().st_size == 2 * numbers * 4


def test_a_model_larger_than_the_memory_allowed(tmp_path: Path) -> None:
    _edit_with_little_memory(tmp_path, numbers=12 << 20, spare=32 << 20)


@pytest.mark.ci
def test_a_model_over_two_gigabytes(tmp_path: Path) -> None:
    _edit_with_little_memory(tmp_path, numbers=280 << 20, spare=128 << 20)
