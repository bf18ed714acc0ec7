"""What the processes of one training tell each other beside its numbers: that one of them failed, and in which words.

The store is the one that torchrun's processes meet at. It outlives a process that ends, so the others learn why.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from onnxcompress.environment import place_among_processes
from onnxcompress.errors import CompressError, InternalError, ResourceError

# How long a process waits for the others to arrive, or for their numbers.
PATIENCE = timedelta(minutes=10)
_MOMENT = timedelta(seconds=5)
# torch does not declare its stores as public, and documents them.
_STORES: Any = dist
_PARTS = ("what", "where", "why", "hint", "code")


def open_store(patience: timedelta = PATIENCE) -> Any:
    """The store that torchrun's environment describes."""
    return next(iter(rendezvous("env://", timeout=patience)))[0]


class Notices:
    """Failures, by way of a store.

    Args:
        store: Where the processes meet.
        rank: Number of this process.
    """

    def __init__(self, store: Any, rank: int) -> None:
        self._store, self._rank = _STORES.PrefixStore("notices", store), rank

    def post(self, error: BaseException) -> None:
        """Tell the others; only the first failure of all stays."""
        known = _as_ours(error)
        parts = {name: getattr(known, name) for name in _PARTS}
        text = json.dumps({"class": type(known).__name__, "rank": self._rank, **parts})
        with contextlib.suppress(RuntimeError):
            self._store.compare_set("failure", "", text)

    def read(self) -> CompressError | None:
        """The first failure of all, as an error of the same kind; None where none is told within a moment."""
        try:
            self._store.wait(["failure"], _MOMENT)
            told = json.loads(self._store.get("failure"))
        except RuntimeError:
            return None
        kinds = {kind.__name__: kind for kind in CompressError.__subclasses__()}
        where = ", ".join(part for part in (f"process {told['rank']}", told["where"]) if part)
        kind = kinds.get(told["class"], InternalError)
        return kind(told["what"], where=where, why=told["why"], hint=told["hint"], code=told["code"])


def _as_ours(error: BaseException) -> CompressError:
    if isinstance(error, CompressError):
        return error
    if isinstance(error, MemoryError):
        return ResourceError("out of memory", hint="Give a smaller --batch-size.")
    return InternalError(f"{type(error).__name__}: {error}".rstrip(": "))


@contextlib.contextmanager
def speaker() -> Generator[bool]:
    """True in the process that is to tell the user of a failure; the others wait until it has."""
    rank = place_among_processes()[0]
    try:
        store = _STORES.PrefixStore("speaker", open_store(_MOMENT))
        first = store.add("asked", 1) == 1
    except RuntimeError:
        yield rank == 0
        return
    if not first:
        with contextlib.suppress(RuntimeError):
            store.wait(["told"], _MOMENT)
    yield first
    if first:
        with contextlib.suppress(RuntimeError):
            store.set("told", "1")
