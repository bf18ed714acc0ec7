from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxcompress.passes.reconstruction.spill import Store
from onnxcompress.passes.reconstruction.stream import Stream


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]


def test_what_exceeds_the_budget_comes_back_from_disk_unchanged(folder):
    arrays = {n: np.random.default_rng(n).normal(size=(100,)).astype(np.float32) for n in range(5)}
    store = Store(budget=900)
    for key, array in arrays.items():
        store[key] = array
    assert store.spilled == 3
    assert len(_files(folder)) == 3
    assert set(store) == set(arrays)
    assert all(np.array_equal(store[key], array) for key, array in arrays.items())


def test_deleting_and_closing_remove_the_files(folder):
    store = Store(budget=0)
    store["a"] = store["b"] = np.ones(3)
    del store["a"]
    assert len(_files(folder)) == 1
    assert "a" not in store
    store.close()
    assert not list(folder.iterdir())
    assert len(store) == 0


def test_room_that_is_freed_is_used_again():
    store = Store(budget=80)
    store["a"] = np.ones(10)
    del store["a"]
    store["b"] = np.ones(10)
    assert store.spilled == 0


def test_a_stream_on_disk_sees_what_one_in_memory_sees(folder):
    import onnx_ir as ir

    from onnxcompress.runtime_options import RuntimeOptions

    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y)
    { a = Relu(x) b = Add(a, x) c = Mul(b, a) y = Tanh(c) }"""
    runs = [{"x": np.random.default_rng(n).normal(size=(3, 4)).astype(np.float32)} for n in range(2)]
    streams = [Stream(ir.from_onnx_text(text), runs, ("y",), RuntimeOptions(threads=1), b) for b in (0, 1 << 20)]
    for stop in range(1, 5):
        for stream in streams:
            stream.advance_before(stop)
    assert np.array_equal(*(stream.value(1, "y") for stream in streams))
    assert _files(folder)
    streams[0].close()
    assert not _files(folder)
