"""The bridge's benchmark: what passes, what a page says of what does not, and how other converters are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import residual

ROW: dict[str, Any] = {
    "seconds": 0.5, "difference": 1e-6, "finite": True, "same": True, "reached": 95, "floats": 100,
}  # fmt: skip


def test_a_small_file_passes_and_its_run_is_kept(tmp_path: Path) -> None:
    from bridge import examine, good

    path, kept = tmp_path / "small.onnx", tmp_path / "small.npz"
    ir.save(residual(), path)
    row = examine(path, kept)
    assert good(row) and 0 < row["reached"] <= row["floats"]
    assert {"in0", "out0"} <= set(np.load(kept))


@pytest.mark.parametrize("change", [{"difference": 2e-3}, {"finite": False}, {"same": False}])
def test_one_fault_fails_a_file_and_the_page_tells_it(change: dict[str, Any]) -> None:
    from bridge import good
    from bridge_page import page

    runs = {"a.legacy.onnx": ROW, "b.dynamo.onnx": ROW | change}
    text = page("Text.", runs, {}, good)
    assert not good(runs["b.dynamo.onnx"])
    assert "**1 of 2 files pass**" in text
    assert "- b.dynamo.onnx: " in text and "- a.legacy.onnx" not in text


def test_a_refused_file_is_told_with_its_reason() -> None:
    from bridge import good
    from bridge_page import page

    text = page("Text.", {"a.onnx": ROW, "b.onnx": {"refused": "no torch form of Odd", "floats": 1}}, {}, good)
    assert "- b.onnx: no torch form of Odd" in text


def test_a_converter_counts_where_it_is_equal_and_learns() -> None:
    from bridge import good
    from bridge_page import page

    runs = {"a.legacy.onnx": ROW, "b.legacy.onnx": ROW, "c.legacy.onnx": ROW}
    peer = {"seconds": 1.0, "difference": 1e-6, "finite": True, "reached": 50}
    rows = {"a.legacy.onnx": peer, "b.legacy.onnx": peer | {"difference": 0.5}, "c.legacy.onnx": {"fault": "no LSTM"}}
    text = page("Text.", runs, {"other": rows}, good)
    assert "| other | 2 | 1 | 1 | 50.0 % | 0 |" in text
    assert "other runs but differs on 1: b.legacy.onnx." in text and "no LSTM" in text


def test_a_peers_module_is_compared_and_its_parameters_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bridge_peers

    layer = torch.nn.Linear(3, 2)
    given = np.ones((4, 3), np.float32)
    kept = tmp_path / "run.npz"
    np.savez(kept, in0=given, out0=layer(torch.from_numpy(given)).detach().numpy())
    monkeypatch.setattr(bridge_peers, "converted", lambda *_: layer)
    row = bridge_peers.examine("any", tmp_path, kept)
    assert row["difference"] < 1e-6 and row["finite"] and row["reached"] == 8 and row["stage"] == ""
    np.savez(kept, in0=given, out0=np.zeros((4, 3), np.float32))
    assert bridge_peers.examine("any", tmp_path, kept)["difference"] == float("inf")
