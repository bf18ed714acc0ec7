"""Seeded batches of a data source, as runs of the model: one run, or several where the model fixes its batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.data import ArraySource, DataSource
from onnxcompress.distill.augment import Light
from onnxcompress.distill.lengths import Padding, arrange, equal_parts, sizes_of
from onnxcompress.runtime import feeds_of

T = TypeVar("T", np.ndarray, torch.Tensor)

# Runs in one step where the model takes a fixed number of samples a run.
_MOST_RUNS = 8
# Samples whose labels are read together.
_LABELS = 1024


@dataclass(frozen=True)
class Run:
    """One forward pass of a batch.

    Attributes:
        feeds: Inputs by name.
        share: Part of the batch that it holds.
        labels: Class ids, or None.
        rows: Place of each sample among those that were asked for.
        padding: Samples repeated at the end of the feeds because the model fixes its batch; they do not count.
    """

    feeds: dict[str, np.ndarray]
    share: float
    labels: torch.Tensor | None = None
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64), repr=False)
    padding: int = 0

    def real(self, tensors: Mapping[str, T]) -> dict[str, T]:
        """Tensors or arrays of the run without what was repeated, where their first axis is the batch."""
        count, fed = len(self.rows), len(self.rows) + self.padding
        return {n: t[:count] if self.padding and t.ndim and len(t) == fed else t for n, t in tensors.items()}


class Batches:
    """Endless batches of `source`, in seeded order, reshuffled each time round.

    Args:
        model: The model they are for.
        source: The samples.
        size: Samples in one batch of all processes together.
        seed: Seed of the order.
        rank: This process; it gets its own part of each batch.
        world: Number of processes.
        augment: Makes other views of the samples; None leaves them.
    """

    def __init__(
        self,
        model: ir.Model,
        source: DataSource,
        size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        augment: Light | None = None,
    ) -> None:
        self._model, self._source, self._seed = model, source, seed
        self._rank, self._world, self._augment = rank, world, augment
        self.size = min(size, len(source))
        self._padding, self._ranks = (None, None) if source.uniform else sizes_of(model, source)
        alike = source.read([0]) if not source.uniform else None
        trial = source if alike is None else ArraySource({n: np.repeat(a, self.size, 0) for n, a in alike.items()})
        fixed = len(next(iter(feeds_of(model, trial, batch=self.size))).indices)
        if fixed < self.size:
            self.size = min(self.size, fixed * _MOST_RUNS)

    def __iter__(self) -> Iterator[list[Run]]:
        return self.starting(0)

    def starting(self, first: int) -> Iterator[list[Run]]:
        """The batches from number `first` on, as if those before had been taken."""
        order = np.random.Generator(np.random.PCG64(self._seed))
        pool = np.empty(0, dtype=np.int64)
        for step in itertools.count():
            while len(pool) < self.size:
                pool = np.concatenate([pool, self._round(order)])
            chosen, pool = pool[: self.size], pool[self.size :]
            if step >= first:
                yield self._runs(chosen, step)

    def _round(self, order: np.random.Generator) -> np.ndarray:
        """All samples once, in random order; neighbours in size together where sizes differ."""
        drawn = order.permutation(len(self._source))
        return drawn if self._ranks is None else arrange(drawn, self._ranks, self.size, order)

    def _runs(self, chosen: np.ndarray, step: int) -> list[Run]:
        """This process's part of one batch."""
        places = np.array_split(np.arange(self.size), self._world)[self._rank]
        if not len(places):
            return []
        runs = list(runs_of(self._model, self._source, chosen[places], of=self.size, padding=self._padding))
        return runs if self._augment is None else [self._viewed(run, step, places) for run in runs]

    def _viewed(self, run: Run, step: int, places: np.ndarray) -> Run:
        assert self._augment is not None
        # A model of fixed batch size gets rows again to fill its batch.
        rows = max((len(a) for a in run.feeds.values() if a.ndim), default=0)
        at = np.resize(places[run.rows], rows) if rows else places[:0]
        return replace(run, feeds=self._augment.views(run.feeds, step, at, self.size))


def runs_of(
    model: ir.Model, source: DataSource, indices: np.ndarray, *, of: int, padding: Padding | None = None
) -> Iterator[Run]:
    """The runs that take the samples at `indices` through `model`; shares count against a batch of `of`.

    Samples of differing sizes are grouped by size; `padding` grows them before.
    """
    parts = [(np.arange(len(indices)), source.subset(indices))]
    for rows, part in parts if source.uniform else equal_parts(source, indices, padding):
        for run in feeds_of(model, part, batch=len(rows)):
            labels = source.labels(indices[rows[run.indices]])
            share, chosen = len(run.indices) / of, rows[run.indices]
            yield Run(run.arrays, share, class_ids(labels), chosen, run.padding)


def parts_of(model: ir.Model, source: DataSource, indices: np.ndarray, size: int) -> list[Run]:
    """The samples at `indices` in runs of at most `size`, so that they need no more memory than a training step.

    Where the model fixes a smaller batch, the first few runs stand for all.
    """
    firsts = range(0, len(indices), size)
    runs = (
        replace(run, rows=run.rows + first)
        for first in firsts
        for run in runs_of(model, source, indices[first : first + size], of=len(indices))
    )
    parts = list(itertools.islice(runs, max(len(firsts), _MOST_RUNS)))
    whole = sum(run.share for run in parts)
    return [replace(run, share=run.share / whole) for run in parts]


def labels_in_parts(source: DataSource) -> Iterator[tuple[int, np.ndarray]]:
    """The number of a first sample, and the labels from it on, for some samples at a time; nothing without labels."""
    for first in range(0, len(source), _LABELS):
        labels = source.labels(np.arange(first, min(first + _LABELS, len(source))))
        if labels is not None:
            yield first, labels


def class_ids(labels: np.ndarray | None) -> torch.Tensor | None:
    """Labels as class ids; None where there are none, or they are not integers."""
    if labels is None or not np.issubdtype(labels.dtype, np.integer):
        return None
    return torch.as_tensor(labels.astype(np.int64))
