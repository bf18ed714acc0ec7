"""Failures travel between processes with their class and words; the first of all stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch.distributed as dist

from onnxcompress.distill.distributed import World
from onnxcompress.distill.notices import Notices
from onnxcompress.errors import DataError, InternalError, ResourceError

STORES: Any = dist


def told(*failures: BaseException) -> BaseException | None:
    store = STORES.HashStore()
    for rank, failure in enumerate(failures):
        Notices(store, rank).post(failure)
    return Notices(store, 7).read()


def test_the_first_failure_keeps_its_class_and_words() -> None:
    read = told(
        DataError("cannot read", where="sample 3", why="it is cut", hint="Mend it.", code="DATA-X"), ValueError()
    )
    assert type(read) is DataError
    assert str(read) == "cannot read (process 0, sample 3): it is cut. Mend it."
    assert isinstance(read, DataError)
    assert read.code == "DATA-X"


def test_errors_of_other_kinds_become_ours() -> None:
    assert isinstance(told(MemoryError()), ResourceError)
    read = told(ZeroDivisionError("division by zero"))
    assert type(read) is InternalError
    assert "ZeroDivisionError: division by zero" in str(read)


def test_a_process_that_left_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("connection closed by peer\nat somewhere")

    monkeypatch.setattr(dist, "broadcast_object_list", gone)
    with pytest.raises(ResourceError, match="lost another process of this training: connection closed by peer\\. See"):
        World(0, 2).agree(1.0)


def test_a_failure_elsewhere_becomes_this_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("connection closed by peer")

    monkeypatch.setattr(dist, "broadcast_object_list", gone)
    store = STORES.HashStore()
    Notices(store, 1).post(DataError("cannot read", code="DATA-X"))
    with pytest.raises(DataError, match="process 1"):
        World(0, 2, Notices(store, 0)).agree(1.0)
