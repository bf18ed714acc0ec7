"""What a data source is, and the one over arrays in memory (or memory maps).

The sample axis of an array that `DataSource.read` gives is always the first one. Where an input has its batch axis
elsewhere (an RNN state of 1 x N x H, see `InputSpec.batch_axis`), what follows the sample axis are the other axes in
order (N x 1 x H). An input without a batch axis (a scalar, a cache of fixed size) gets one whole tensor a sample.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np


class DataSource(ABC):
    """Samples by index. Every input's first axis counts samples; reading is lazy and repeatable.

    A model whose first axis is not a batch (fixed batch of 1, or none at all) is fed one sample a run by
    `onnxcompress.runtime`, which is the only place that knows about batch sizes.
    """

    @property
    def uniform(self) -> bool:
        """True where all samples have one shape; where not, they are read one at a time."""
        return True

    @property
    def synthetic(self) -> bool:
        """True where the samples are made up (``random:N``), and nothing measured on them means anything."""
        return False

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the model inputs that each sample feeds."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def read(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The samples at `indices`, stacked on a new first axis, by input name, already preprocessed."""

    @abstractmethod
    def labels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Labels at `indices` (int class ids, or any array a user's metric understands); None where there are none."""

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 that changes with the samples or their preprocessing."""

    def origin(self, index: int) -> int:
        """Where the sample at `index` stands in the data that the user gave, for messages."""
        return index

    def batches(self, size: int, *, start: int = 0, stop: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """The samples in order, `size` a batch (1 where their shapes differ); the last batch may be smaller."""
        end = len(self) if stop is None else min(stop, len(self))
        size = size if self.uniform else 1
        for begin in range(start, end, size):
            yield self.read(np.arange(begin, min(begin + size, end)))

    def subset(self, indices: Sequence[int] | np.ndarray) -> DataSource:
        """The samples at `indices` as a source of their own."""
        return SubsetSource(self, np.asarray(indices, dtype=np.int64))

    def draw(self, count: int, *, seed: int = 0) -> DataSource:
        """A seeded choice of at most `count` samples, in their order."""
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(self))
        return self.subset(np.sort(order[:count]))

    def split(self, fraction: float = 0.2, *, seed: int = 0) -> tuple[DataSource, DataSource]:
        """A (rest, held-out) pair: a seeded choice of ``fraction`` of the samples is held out, at least one."""
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(self))
        cut = min(max(1, round(len(self) * fraction)), len(self) - 1)
        return self.subset(np.sort(order[cut:])), self.subset(np.sort(order[:cut]))


class SubsetSource(DataSource):
    """Some samples of another source."""

    def __init__(self, base: DataSource, indices: np.ndarray) -> None:
        self._base, self._indices = base, indices

    @property
    def names(self) -> tuple[str, ...]:
        return self._base.names

    @property
    def uniform(self) -> bool:
        return self._base.uniform

    @property
    def synthetic(self) -> bool:
        return self._base.synthetic

    def __len__(self) -> int:
        return len(self._indices)

    def origin(self, index: int) -> int:
        return self._base.origin(int(self._indices[index]))

    def read(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        return self._base.read(self._indices[np.asarray(indices)])

    def labels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        return self._base.labels(self._indices[np.asarray(indices)])

    def fingerprint(self) -> str:
        return hashlib.sha256(self._base.fingerprint().encode() + self._indices.tobytes()).hexdigest()


class ArraySource(DataSource):
    """Arrays whose first axis counts samples; they may be memory maps.

    Args:
        arrays: One array an input, all of the same length.
        labels: One label a sample, or None.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray | None = None) -> None:
        self._arrays, self._labels = dict(arrays), labels

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._arrays)

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def read(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        chosen = np.asarray(indices)
        return {name: np.ascontiguousarray(array[chosen]) for name, array in self._arrays.items()}

    def labels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        return None if self._labels is None else np.asarray(self._labels[np.asarray(indices)])

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self._arrays):
            digest.update(name.encode())
            for start in range(0, len(self), 1024):
                digest.update(np.ascontiguousarray(self._arrays[name][start : start + 1024]).tobytes())
        return digest.hexdigest()
