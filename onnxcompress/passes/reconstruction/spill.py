"""Arrays by name that stay in memory up to a budget; what is put beyond it lies in a temporary folder.

A spilled array comes back as a read-only memory map that is opened anew each time, so that its pages leave memory with
the last reader. Files go when their array is deleted, the folder when the store is closed or forgotten.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Iterator, MutableMapping
from pathlib import Path

import numpy as np


class Store(MutableMapping[Hashable, np.ndarray]):
    """A dictionary of arrays.

    Args:
        budget: Bytes that may lie in memory.
    """

    def __init__(self, budget: int) -> None:
        self._budget, self._used, self._written = budget, 0, 0
        self._here: dict[Hashable, np.ndarray] = {}
        self._there: dict[Hashable, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def spilled(self) -> int:
        """Number of arrays on disk now."""
        return len(self._there)

    def __getitem__(self, key: Hashable) -> np.ndarray:
        if key in self._here:
            return self._here[key]
        return np.load(self._there[key], mmap_mode="r", allow_pickle=False)

    def __setitem__(self, key: Hashable, array: np.ndarray) -> None:
        self.pop(key, None)
        plain = array.dtype.kind in "fiub" and array.size > 0
        if plain and self._used + array.nbytes > self._budget:
            self._there[key] = self._write(array)
        else:
            self._here[key] = array
            self._used += array.nbytes

    def __delitem__(self, key: Hashable) -> None:
        if key in self._here:
            self._used -= self._here.pop(key).nbytes
        else:
            self._there.pop(key).unlink()

    def __iter__(self) -> Iterator[Hashable]:
        yield from self._here
        yield from self._there

    def __len__(self) -> int:
        return len(self._here) + len(self._there)

    def __contains__(self, key: object) -> bool:
        return key in self._here or key in self._there

    def close(self) -> None:
        """Forget everything and remove the folder."""
        self._here.clear()
        self._there.clear()
        self._used = 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _write(self, array: np.ndarray) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="onnxcompress-")
        path = Path(self._folder.name) / f"{self._written}.npy"
        self._written += 1
        np.save(path, array, allow_pickle=False)
        return path
