"""The page beside the peers: rows from processes that answer, fail or die, and the table that is made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MLP = Path(__file__).parents[2] / "samples" / "models" / "mlp.onnx"


def test_an_answer_is_joined_with_the_peak_memory() -> None:
    from ptq_tools import read_answer

    told = 'noise {x}\n{"cpu_s": 1.5, "wall_s": 2.0}\n{"peak_mb": 80.0}\n'
    assert read_answer(told, "", 0) == {"cpu_s": 1.5, "wall_s": 2.0, "peak_mb": 80.0}


def test_a_process_that_died_is_a_row_with_its_last_words() -> None:
    from ptq_tools import read_answer

    row = read_answer('{"peak_mb": 80.0}\n', "Traceback\nSegmentation fault\n\n", -11)
    assert row["failed"] == "the process ended with -11: Segmentation fault"


@pytest.mark.parametrize(("seconds", "runs"), [(9.0, 5), (11.0, 3), (121.0, 1)])
def test_short_runs_are_repeated(seconds: float, runs: int) -> None:
    from ptq_tools import rounds_for

    assert rounds_for(seconds, 5) == runs and rounds_for(seconds, 1) == 1


def test_the_float_pass_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    from ptq_tools import PLAIN, call

    rng = np.random.default_rng(0)
    runs = {
        f"{i}:{name}": rng.normal(size=(1, *shape)).astype(np.float32) for i in range(3) for name, shape in inputs()
    }
    np.savez(tmp_path / "runs.npz", **runs)
    files = (MLP, tmp_path / "runs.npz", tmp_path / "out.onnx")
    row = call(PLAIN, PLAIN.settings[0], Path(sys.executable), files, limit=60, memory=0)
    assert set(row) == {"wall_s", "cpu_s", "peak_mb"} and not files[2].exists()
    assert "failed" in call(
        PLAIN, {"plain": True}, Path(sys.executable), (MLP.with_name("no"), *files[1:]), limit=60, memory=0
    )


def inputs() -> list[tuple[str, list[int]]]:
    import onnx

    given = onnx.load(MLP).graph.input
    return [(value.name, [d.dim_value for d in value.type.tensor_type.shape.dim[1:]]) for value in given]


def row(**changes: Any) -> dict[str, Any]:
    score = {
        "measure": "accuracy",
        "value": 0.9,
        "reference": 0.91,
        "difference": -0.01,
        "interval": [-0.02, 0.0],
        "count": 9,
    }
    made: dict[str, Any] = {"cpu_s": 2.0, "peak_mb": 100.0, "passes": 4.0, "bytes": 250, "score": score}
    return {**made, "kernels": {"integer": 5, "float": 1}, **changes}


def page_of(spread: float) -> str:
    from ptq_page import page

    ort = {"ours default": {"ratio": 1.5, "beyond_noise": True}, "NNCF": {"ratio": 1.01, "beyond_noise": False}}
    refused = {"NNCF": {"failed": "rnn.cpp:9: no constant"}}
    found = {
        "float": row(bytes=1000), "ours default": row(), "NNCF": row(), "modelopt": {"failed": "ValueError: no\tway"},
        "times": {"ort": {"models": ort, "aa_spread": spread}, "openvino": refused},
    }  # fmt: skip
    return page(json.loads(json.dumps({"net": found})))


def test_the_page_names_what_failed_and_brackets_what_is_noise() -> None:
    text = page_of(spread=0.02)
    assert "| ours default | 90.00 | -1.00 [-2.00, +0.00] | 4.0 | 100 | 4.00 x | 5/1 | 1.50 x |  |  |" in text
    assert "| 5/1 | (1.01 x) | refused |" in text and "modelopt failed: ValueError" in text
    assert "- OpenVINO refuses the file of NNCF: no constant" in text
    assert "| net | accuracy | 91.00 | -1.00 | -1.00 | failed |" in text


def test_no_speed_is_told_where_two_float_sessions_are_far_apart() -> None:
    assert "| 5/1 | noise |" in page_of(spread=0.4)
