from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders.command_line import write_model

import onnxcompress
from onnxcompress.calibrators import streaming
from onnxcompress.errors import UsageError
from onnxcompress.several import check_names
from onnxcompress.targets import load_target

DATA = {"x": np.random.default_rng(2).normal(size=(20, 2, 4, 4)).astype(np.float32)}


def test_one_pass_over_the_samples_serves_all_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def counted(model, names, **options):
        asked.append(list(names))
        return streaming.Counter(model, names, **options)

    monkeypatch.setattr("onnxcompress.calibrators.store.Counter", counted)
    model = write_model(tmp_path / "model.onnx")
    results = onnxcompress.quantize(model, data=DATA, target=["openvino", "ort-x86", "qnn"], islands="0")
    assert len(asked) == 1 and set(asked[0]) == {"x", "y"}
    assert list(results) == ["openvino", "ort-x86", "qnn"] and len(results) == 3
    paths = results.save(tmp_path / "out", stem="m")
    assert [p.name for p in paths] == ["m.openvino.onnx", "m.ort-x86.onnx", "m.qnn.onnx"]
    alone = onnxcompress.quantize(model, data=DATA, target="qnn", islands="0")
    assert alone.save(tmp_path / "qnn.onnx").read_bytes() == paths[2].read_bytes()
    assert "openvino" in str(results)


def test_no_profile_is_named_twice() -> None:
    profile = load_target("ort-cpu").profile
    with pytest.raises(UsageError, match=f"ort-cpu and {profile} are both {profile} on this processor"):
        check_names(["ort-cpu", "tensorrt", profile])
    with pytest.raises(UsageError, match="no target"):
        check_names([])
    assert check_names(["ort-cpu", "tensorrt"]) == ["ort-cpu", "tensorrt"]
