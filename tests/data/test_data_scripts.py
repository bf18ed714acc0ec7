from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from onnx import parser

from onnxcompress.data import open_data
from onnxcompress.errors import DataError, UsageError
from onnxcompress.model_io import load

MODEL = load(
    parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }')
)
SCRIPT = """
import sys
import numpy as np

def half_way():
    yield {"x": np.zeros((1, 3), np.float32)}
    raise RuntimeError("disk on fire")

def leaves():
    sys.exit(3)

def nothing():
    pass
"""


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("half_way", r"iterable failed .*item 1.*disk on fire"),
        ("leaves", r"function failed .*leaves.*SystemExit: 3"),
        ("nothing", r"returned None .*nothing"),
    ],
)
def test_what_a_data_function_does_wrong_is_a_fault_of_the_data(tmp_path: Path, function: str, says: str) -> None:
    script = tmp_path / "source.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        open_data(f"{script}:{function}", MODEL)


def test_an_error_of_ours_passes_an_iterable_as_it_is() -> None:
    def items() -> object:
        yield np.zeros(3, np.float32)
        raise DataError("mine")

    with pytest.raises(DataError, match="mine"):
        open_data(items(), MODEL)


def test_labels_that_do_not_fit_are_not_dropped_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        source = open_data({"x": np.zeros((4, 3), np.float32), "y": np.arange(3)}, MODEL)
    assert source.labels([0]) is None
    assert "array y is not used as labels" in caplog.text


def test_an_unknown_resize_is_refused_for_arrays_too() -> None:
    with pytest.raises(UsageError, match="unknown resize 'fit'"):
        open_data({"x": np.zeros((4, 3), np.float32)}, MODEL, resize="fit")
