"""One part of the samples, counted wherever: in this process, in another one, or on another machine.

A shard holds all that it needs (the model's bytes, its samples), so that nothing has to be shared. States are sums of
integers: it does not matter who counts which shard, or in which order they come back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
import onnx

from onnxcompress import model_io
from onnxcompress.calibrators.states import decode, encode
from onnxcompress.calibrators.streaming import Counter, merged
from onnxcompress.data import ArraySource, DataSource
from onnxcompress.errors import CompressError
from onnxcompress.runtime import one_thread
from onnxcompress.runtime_options import RuntimeOptions


@dataclass(frozen=True)
class Shard:
    """A task.

    Attributes:
        model: The serialized float model.
        samples: Arrays by input name: whole ones where samples have one shape, else one entry a sample.
        names: Tensors to count.
        options: Providers and custom operators.
        batch: Samples in one run.
        memory_bytes: Ceiling for the tapped tensors.
    """

    model: bytes
    samples: Sequence[dict[str, np.ndarray]]
    names: tuple[str, ...]
    options: RuntimeOptions
    batch: int
    memory_bytes: int


def samples_of(source: DataSource) -> list[dict[str, np.ndarray]]:
    """The samples as arrays: one entry for all where they have one shape, else one each."""
    if source.uniform:
        return [source.read(np.arange(len(source)))]
    return [source.read([index]) for index in range(len(source))]


def count_shard(shard: Shard) -> bytes:
    """The encoded histograms of a shard."""
    model = model_io.load(onnx.load_from_string(shard.model))
    options = one_thread(shard.options)
    counter = Counter(model, shard.names, options=options, batch=shard.batch, memory_bytes=shard.memory_bytes)
    parts = [counter.count(ArraySource(arrays)) for arrays in shard.samples]
    return encode(merged(parts))


def counted(executor: Executor, shards: Iterable[Shard], under_way: int) -> Iterator[bytes]:
    """What `count_shard` gives for each shard, in order; a shard whose worker failed is handed out once more.

    Args:
        executor: Any `concurrent.futures.Executor`.
        shards: Drawn as results are taken.
        under_way: Most shards handed out at a time.
    """
    waiting: deque[tuple[Shard, Future[bytes]]] = deque()
    try:
        for shard in shards:
            waiting.append((shard, executor.submit(count_shard, shard)))
            if len(waiting) >= under_way:
                yield _result(executor, *waiting.popleft())
        while waiting:
            yield _result(executor, *waiting.popleft())
    finally:
        for _, future in waiting:
            future.cancel()


def _result(executor: Executor, shard: Shard, future: Future[bytes]) -> bytes:
    try:
        found = future.result()
        decode(found)
    except CompressError:
        raise
    except Exception:  # noqa: BLE001  # whatever a worker may die of; the second time it is the caller's to see
        return _again(executor, shard)
    return found


def _again(executor: Executor, shard: Shard) -> bytes:
    """The shard once more; here, where the pool takes no more work since a process of it died."""
    try:
        future = executor.submit(count_shard, shard)
    except RuntimeError:
        return count_shard(shard)
    return future.result()
