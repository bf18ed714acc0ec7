"""A column: one array over all samples that is read piece by piece, whatever lies behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from onnxcompress.errors import DataError

CHUNK_BYTES = 1 << 26


class Digest(Protocol):
    """What hashlib's objects have in common."""

    def update(self, data: bytes, /) -> None:
        """Take `data` in."""


class Column(ABC):
    """Samples by index along the first axis.

    Attributes:
        length: Number of samples.
        sample_shape: Sizes of one sample; None where the samples differ.
        dtype: As stored.
    """

    length: int
    sample_shape: tuple[int | None, ...]
    dtype: np.dtype

    @abstractmethod
    def take(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices` (int64), stacked, as stored."""

    @property
    def uniform(self) -> bool:
        """True where all samples have one shape."""
        return None not in self.sample_shape

    def hash_into(self, digest: Digest) -> None:
        """Feed every sample to `digest`, a bounded number at a time."""
        for indices in chunks(self):
            block = np.ascontiguousarray(self.take(indices))
            digest.update(repr((block.shape, block.dtype.str)).encode())
            digest.update(block.tobytes())


def chunks(column: Column) -> list[np.ndarray]:
    """Index blocks of about `CHUNK_BYTES` each; single samples where their shapes differ."""
    sample = column.dtype.itemsize * int(np.prod([d or 1 for d in column.sample_shape]))
    step = max(1, CHUNK_BYTES // max(sample, 1)) if column.uniform else 1
    return [np.arange(i, min(i + step, column.length)) for i in range(0, column.length, step)]


class ArrayColumn(Column):
    """An array or memory map; `load` is called at the first use, so that opening a file reads its header only."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, load: Callable[[], np.ndarray]) -> None:
        self.length, self.sample_shape, self.dtype = shape[0], shape[1:], dtype
        self._load, self._array = load, None

    def take(self, indices: np.ndarray) -> np.ndarray:
        if self._array is None:
            self._array = self._load()
        return self._array[indices]


class ConstantColumn(Column):
    """The same value for every sample."""

    def __init__(self, value: np.ndarray, length: int) -> None:
        self.length, self.sample_shape, self.dtype, self._value = length, value.shape, value.dtype, value

    def take(self, indices: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self._value, (len(indices), *self._value.shape))

    def hash_into(self, digest: Digest) -> None:
        digest.update(np.ascontiguousarray(self._value).tobytes())


class PartsColumn(Column):
    """Many small arrays end to end: one sample each (`batched=False`) or some samples each.

    Args:
        shapes: Shape of every part.
        dtype: Common dtype.
        load: Gives part `i`.
        batched: True where the first axis of a part counts samples.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], dtype: np.dtype, load: Callable[[int], np.ndarray], *, batched: bool
    ) -> None:
        counts = [shape[0] if batched else 1 for shape in shapes]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.length, self.dtype, self._load, self._batched = int(self._starts[-1]), dtype, load, batched
        samples = [shape[1:] if batched else shape for shape in shapes]
        self.sample_shape = _common(samples)

    def take(self, indices: np.ndarray) -> np.ndarray:
        parts = np.searchsorted(self._starts, indices, side="right") - 1
        rows = [self._sample(int(part), int(index)) for part, index in zip(parts, indices, strict=True)]
        return stack(rows, indices)

    def _sample(self, part: int, index: int) -> np.ndarray:
        array = self._load(part)
        return array[index - int(self._starts[part])] if self._batched else array


def stack(rows: list[np.ndarray], indices: np.ndarray) -> np.ndarray:
    """The samples on a new first axis.

    Raises:
        DataError: Where their shapes differ.
    """
    if len({row.shape for row in rows}) > 1:
        sizes = sorted({str(list(row.shape)) for row in rows})
        raise DataError(
            "cannot put samples of different sizes into one batch",
            where=f"samples {int(indices[0])} to {int(indices[-1])}",
            why=f"their shapes are {', '.join(sizes[:3])}",
            hint="Pad them to one size, or read them one at a time (`DataSource.uniform` is False).",
            code="DATA-RAGGED",
        )
    return np.stack(rows)


def _common(shapes: Sequence[tuple[int, ...]]) -> tuple[int | None, ...]:
    ranks = {len(shape) for shape in shapes}
    if len(ranks) > 1:
        raise DataError(
            "the samples do not have one rank",
            why=f"ranks {sorted(ranks)} occur",
            hint="Save every sample with the same number of axes.",
            code="DATA-RANK",
        )
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))
