"""Seeded batches of a data source, as runs of the model: one run, or several where the model fixes its batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.data import DataSource
from onnxcompress.runtime import feeds_of

# Runs in one step where the model takes a fixed number of samples a run.
_MOST_RUNS = 8


@dataclass(frozen=True)
class Run:
    """One forward pass of a batch.

    Attributes:
        feeds: Inputs by name.
        share: Part of the batch that it holds.
        labels: Class ids, or None.
    """

    feeds: dict[str, np.ndarray]
    share: float
    labels: torch.Tensor | None = None


class Batches:
    """Endless batches of `source`, in seeded order, reshuffled each time round.

    Args:
        model: The model they are for.
        source: The samples.
        size: Samples in one batch of all processes together.
        seed: Seed of the order.
        rank: This process; it gets its own part of each batch.
        world: Number of processes.
    """

    def __init__(
        self, model: ir.Model, source: DataSource, size: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self._model, self._source, self._seed = model, source, seed
        self._rank, self._world = rank, world
        self.size = min(size, len(source))
        fixed = len(next(iter(feeds_of(model, source, batch=self.size))).indices)
        if fixed < self.size:
            self.size = min(self.size, fixed * _MOST_RUNS)

    def __iter__(self) -> Iterator[list[Run]]:
        order = np.random.Generator(np.random.PCG64(self._seed))
        pool = np.empty(0, dtype=np.int64)
        while True:
            while len(pool) < self.size:
                pool = np.concatenate([pool, order.permutation(len(self._source))])
            chosen, pool = pool[: self.size], pool[self.size :]
            mine = np.array_split(chosen, self._world)[self._rank]
            yield list(runs_of(self._model, self._source, mine, of=self.size)) if len(mine) else []


def runs_of(model: ir.Model, source: DataSource, indices: np.ndarray, *, of: int) -> Iterator[Run]:
    """The runs that take the samples at `indices` through `model`; shares count against a batch of `of`."""
    part = source.subset(indices)
    for run in feeds_of(model, part, batch=len(indices)):
        labels = source.labels(indices[run.indices])
        yield Run(run.arrays, len(run.indices) / of, _class_ids(labels))


def _class_ids(labels: np.ndarray | None) -> torch.Tensor | None:
    """Labels as class ids; None where there are none, or they are not integers."""
    if labels is None or not np.issubdtype(labels.dtype, np.integer):
        return None
    return torch.from_numpy(labels.astype(np.int64))
