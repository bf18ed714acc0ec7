"""The data source that `open_data` returns: columns, each with its plan and its arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxcompress.data.columns import Column
from onnxcompress.data.fit import Plan
from onnxcompress.data.inputs import InputSpec
from onnxcompress.data.preprocess import Preprocess
from onnxcompress.data.source import DataSource
from onnxcompress.errors import DataError


@dataclass(frozen=True)
class Feed:
    """What one input is fed from.

    Attributes:
        spec: The model's input.
        column: The samples as stored.
        plan: How their axes become the input's.
        preprocess: Arithmetic on the numbers.
        channel_axis: Axis of the finished batch that `mean` and `std` run along.
    """

    spec: InputSpec
    column: Column
    plan: Plan
    preprocess: Preprocess
    channel_axis: int | None

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices` as the input takes them."""
        stored = self.column.take(indices)
        if np.issubdtype(self.spec.dtype, np.integer):
            self._check_range(stored, indices)
        arranged = self.plan.apply(stored)
        return self.preprocess.apply(arranged, channel_axis=self.channel_axis, dtype=self.spec.dtype)

    def _check_range(self, stored: np.ndarray, indices: np.ndarray) -> None:
        limits = np.iinfo(self.spec.dtype)
        if not stored.size or (stored.min() >= limits.min and stored.max() <= limits.max):
            return
        raise DataError(
            "the data does not fit the model",
            where=f"samples {indices[0]} to {indices[-1]} of input {self.spec.name!r}",
            why=f"values {stored.min()} to {stored.max()} do not fit into {self.spec.dtype}",
            hint="Check that the right array feeds that input (--map).",
            code="DATA-RANGE",
        )


class FittedSource(DataSource):
    """Stored samples, fitted to a model's inputs; every read converts only the samples asked for.

    Args:
        feeds: One an input, all of one length.
        labels: The labels' column, or None.
    """

    def __init__(self, feeds: Sequence[Feed], labels: Column | None) -> None:
        self._feeds: Mapping[str, Feed] = {feed.spec.name: feed for feed in feeds}
        self._labels = labels
        self._length = feeds[0].column.length

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._feeds)

    @property
    def uniform(self) -> bool:
        return all(feed.column.uniform for feed in self._feeds.values())

    def __len__(self) -> int:
        return self._length

    def read(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        chosen = self._checked(indices)
        return {name: feed.read(chosen) for name, feed in self._feeds.items()}

    def labels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        if self._labels is None:
            return None
        taken = self._labels.take(self._checked(indices))
        return taken[:, 0] if taken.ndim == 2 and taken.shape[1] == 1 else taken

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self._feeds):
            feed = self._feeds[name]
            digest.update(repr((name, feed.spec.dtype.str, feed.plan, feed.preprocess)).encode())
            feed.column.hash_into(digest)
        return digest.hexdigest()

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < self._length):
            raise IndexError(f"samples are numbered 0 to {self._length - 1}")
        return chosen
