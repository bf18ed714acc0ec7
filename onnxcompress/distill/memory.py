"""Memory that a training does not need any more, and training that runs out of it, told with a batch size to try."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager

from onnxcompress.errors import ResourceError

# How torch (on a CPU and on a GPU) and ONNX Runtime say it; their classes do not tell it from other errors.
_WORDS = (
    "not enough memory",
    "DefaultCPUAllocator",
    "out of memory",
    "can't allocate memory",
    "bad allocation",
    "bad_alloc",
)


def give_back() -> None:
    """Return to the system what was freed; glibc keeps it for itself, in pieces too small for the next tensors.

    A walk over the nodes holds little at a time, and leaves 220 MiB of such pieces behind for a small ViT (by hand).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in every C library
        if trim is not None:
            trim(0)


@contextmanager
def memory_told(batch_size: int) -> Generator[None]:
    """Turn whatever an exhausted memory raises within into one error.

    Raises:
        ResourceError: Naming the batch size and a smaller one.
    """
    try:
        yield
    except (MemoryError, RuntimeError, ResourceError) as error:
        if not is_memory_error(error):
            raise
        raise _told(batch_size) from error


def is_memory_error(error: BaseException) -> bool:
    """True where `error` means that memory was not enough."""
    if isinstance(error, ResourceError):
        return error.code == "RESOURCE-MEMORY"
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)


def _told(batch_size: int) -> ResourceError:
    hint = f"Try --batch-size {batch_size // 2}; --samples N holds fewer of the held-out ones in memory."
    if batch_size < 2:
        hint = "Use smaller or shorter samples, fewer of them (--samples N), or a machine with more memory."
    return ResourceError(
        "cannot train", where=f"batch size {batch_size}", why="memory was not enough", hint=hint, code="RESOURCE-MEMORY"
    )
