"""Samples in an order that depends on what they hold, not on where they lie.

A permuted file holds the same samples, and has to give the same bytes. So samples are put in the order of a digest of
what the model is fed (BLAKE2b, 128 bits, over names, data types, shapes and bytes of a sample's inputs) before any of
them are chosen, held out, or put into runs. Equal samples are ordered by their labels, so that order never shows.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnxcompress.data.source import DataSource, SubsetSource

DIGEST_BYTES = 16
_CHUNK_BYTES = 1 << 25


class CanonicalSource(SubsetSource):
    """Samples in ascending order of their digests.

    Args:
        base: Where they are read from.
        indices: Their places there, in canonical order.
        digests: uint8, shape (samples, 16), in the same order.
    """

    def __init__(self, base: DataSource, indices: np.ndarray, digests: np.ndarray) -> None:
        super().__init__(base, indices)
        self.digests = digests

    def subset(self, indices: Sequence[int] | np.ndarray) -> DataSource:
        """The samples at `indices`; still canonical where these ascend."""
        chosen = np.asarray(indices, dtype=np.int64)
        if (np.diff(chosen) < 0).any():
            return super().subset(chosen)
        return CanonicalSource(self._base, self._indices[chosen], self.digests[chosen])

    def fingerprint(self) -> str:
        return hashlib.sha256(self.digests.tobytes()).hexdigest()


def canonical(source: DataSource) -> CanonicalSource:
    """The samples of `source` in canonical order; each is read once, unless the source is canonical already."""
    if isinstance(source, CanonicalSource):
        return source
    found = list(_digests(source))
    order = sorted(range(len(found)), key=found.__getitem__)
    same = [found[a] == found[b] for a, b in itertools.pairwise(order)]
    if any(same):
        order.sort(key=lambda i: (found[i], _label(source, i)))
    digests = np.frombuffer(b"".join(found[i] for i in order), np.uint8).reshape(len(order), DIGEST_BYTES)
    return CanonicalSource(source, np.asarray(order, np.int64), digests)


def _digests(source: DataSource) -> Iterator[bytes]:
    if not len(source):
        return
    first = source.read([0])
    size = max(1, _CHUNK_BYTES // max(1, sum(array.nbytes for array in first.values())))
    for arrays in source.batches(size):
        rows = len(next(iter(arrays.values())))
        heads = _heads(arrays)
        for row in range(rows):
            digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
            for name in sorted(arrays):
                digest.update(heads[name])
                digest.update(_bytes(arrays[name][row : row + 1]))
            yield digest.digest()


def _heads(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Name, type and shape of one sample of each input; the lengths keep neighbours apart."""
    return {name: repr((name, array.dtype.name, array.shape[1:])).encode() for name, array in arrays.items()}


def _bytes(sample: np.ndarray) -> bytes:
    if sample.dtype.hasobject:
        return repr(sample.tolist()).encode()
    return np.ascontiguousarray(sample).tobytes()


def _label(source: DataSource, index: int) -> bytes:
    label = source.labels([index])
    return b"" if label is None else _bytes(np.asarray(label))
