from __future__ import annotations

import pytest

from onnxcompress import errors


def test_text_says_what_where_why_and_what_to_do() -> None:
    error = errors.ModelError("cannot prune m.onnx", where="node /conv", why="its weight is missing", hint="Add it.")
    assert str(error) == "cannot prune m.onnx (node /conv): its weight is missing. Add it."


def test_empty_parts_leave_no_trace() -> None:
    assert str(errors.DataError("no samples")) == "no samples."


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InternalError, 1),
        (errors.UsageError, 2),
        (errors.ModelError, 3),
        (errors.DataError, 4),
        (errors.GateError, 5),
        (errors.ResourceError, 6),
    ],
)
def test_each_kind_has_its_exit_code(kind: type[errors.CompressError], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, errors.CompressError)
