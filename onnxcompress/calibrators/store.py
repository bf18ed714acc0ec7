"""Histograms kept for later: what has been counted once is not counted again, whichever target or rule asks for it.

They are kept by model (topology and weights), samples (what they hold, not where they lie), run size and tensor; in
memory, and where there is a cache also on disk. Samples are counted in shards of whole runs. Each finished shard goes
into the cache, so that a run which was cut short goes on where it stopped, and shards may be counted by an executor:
states add up to the same bytes however they were divided.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from onnxcompress.calibrators.cache import Cache
from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.calibrators.shards import Shard, counted, samples_of
from onnxcompress.calibrators.states import decode
from onnxcompress.calibrators.streaming import RUN_SAMPLES, Counter, Found, merged
from onnxcompress.data import CanonicalSource, DataSource, canonical
from onnxcompress.model_io import fingerprint, to_bytes
from onnxcompress.runtime.payload import MAX_PROTO_BYTES, weight_bytes
from onnxcompress.runtime.source import Progress, run_size
from onnxcompress.runtime_options import RuntimeOptions

SHARD_SAMPLES = 64
_UNDER_WAY = 16


class Statistics:
    """Histograms by model, samples and tensor. Callers must not change those that they are given.

    Args:
        cache: Also keeps them on disk.
        executor: Counts shards; in this process by default, as where a model is too large to be sent (2 GB).
    """

    def __init__(self, *, cache: Cache | None = None, executor: Executor | None = None) -> None:
        self._cache, self._executor = cache, executor
        self._kept: dict[str, Found] = {}

    @classmethod
    def kept_in(cls, folder: str | os.PathLike[str] | None, executor: Executor | None) -> Statistics:
        """A store that is also kept in `folder`, where one is named."""
        return cls(cache=None if folder is None else Cache(Path(folder)), executor=executor)

    def collect(
        self,
        model: ir.Model,
        source: DataSource,
        tensor_names: Sequence[str],
        *,
        options: RuntimeOptions | None = None,
        progress: Progress | None = None,
        batch: int = RUN_SAMPLES,
        memory_bytes: int = 1 << 30,
    ) -> dict[str, FloatHistogram]:
        """As `onnxcompress.calibrators.collect`, which runs only for tensors that are not here yet."""
        samples, options = canonical(source), options or RuntimeOptions()
        key = _key(model, samples, options, batch)
        kept = self._kept.setdefault(key, {})
        if self._cache is not None and not set(tensor_names) <= set(kept):
            kept |= self._cache.load(key)
        missing = tuple(dict.fromkeys(name for name in tensor_names if name not in kept))
        if missing:
            work = _Work(model, samples, missing, options, progress, batch, memory_bytes)
            kept |= merged(list(self._parts(work, key)))
            if self._cache is not None:
                self._cache.save(key, kept)
        return {name: kept[name] for name in tensor_names}

    def _parts(self, work: _Work, key: str) -> Iterator[Found]:
        """The histograms of each shard, from the cache where it was finished before."""
        old = {start: self._cache.load_part(key, start) for start in work.starts} if self._cache is not None else {}
        done = {start: found for start, found in old.items() if set(work.names) <= set(found)}
        yield from ({name: found[name] for name in work.names} for found in done.values())
        open_ = [start for start in work.starts if start not in done]
        sent = self._executor is not None and weight_bytes(work.model) <= MAX_PROTO_BYTES
        results = work.sent(self._executor, open_) if sent and self._executor is not None else work.here(open_)
        for start, found in zip(open_, results, strict=True):
            if self._cache is not None and len(work.starts) > 1:
                self._cache.save_part(key, start, found)
            yield found


class _Work:
    """What has to be counted, and the two ways to do it."""

    def __init__(
        self,
        model: ir.Model,
        samples: CanonicalSource,
        names: tuple[str, ...],
        options: RuntimeOptions,
        progress: Progress | None,
        batch: int,
        memory_bytes: int,
    ) -> None:
        self.model, self.samples, self.names = model, samples, names
        self._options, self._progress, self._batch, self._memory = options, progress, batch, memory_bytes
        size = run_size(model, samples, batch)
        self._shard = size * max(1, SHARD_SAMPLES // size)
        self.starts = range(0, len(samples), self._shard)

    def here(self, starts: Sequence[int]) -> Iterator[Found]:
        """One shard after the other, in this process."""
        counter = Counter(self.model, self.names, options=self._options, batch=self._batch, memory_bytes=self._memory)
        for start in starts:
            yield counter.count(self._part(start), progress=self._after(start))

    def sent(self, executor: Executor, starts: Sequence[int]) -> Iterator[Found]:
        """Several shards at a time, by the executor."""
        data = to_bytes(self.model)
        shards = (
            Shard(data, samples_of(self._part(start)), self.names, self._options, self._batch, self._memory)
            for start in starts
        )
        for start, found in zip(starts, counted(executor, shards, _UNDER_WAY), strict=True):
            if self._progress is not None:
                self._progress("calibrate", min(start + self._shard, len(self.samples)), len(self.samples))
            yield decode(found)

    def _part(self, start: int) -> DataSource:
        return self.samples.subset(np.arange(start, min(start + self._shard, len(self.samples))))

    def _after(self, start: int) -> Progress | None:
        tell, total = self._progress, len(self.samples)
        return None if tell is None else lambda step, done, _: tell(step, start + done, total)


def _key(model: ir.Model, samples: CanonicalSource, options: RuntimeOptions, batch: int) -> str:
    """A digest of everything that the states depend on."""
    libraries = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in options.custom_ops]
    software = [ort.__version__, platform.machine(), list(options.providers), libraries]
    text = json.dumps(["histograms/1", fingerprint(model), samples.fingerprint(), batch, software])
    return hashlib.sha256(text.encode()).hexdigest()
