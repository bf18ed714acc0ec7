"""Samples of differing sizes: which of them share a run, so that a network is not recorded anew for every one.

A run holds samples of equal sizes, in numbers that are powers of two. A batch is drawn from neighbours in size, and the
batches come in random order. Where a mask tells a model which steps are real, training pads lengths to multiples of 8
(up to 64) or 32, for teacher and student alike: some tens of sizes are left of any number of lengths. Measured is what
was given, never padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.data import ArraySource, DataSource
from onnxcompress.runtime import batch_axis, dims_of, real_inputs

_FINE, _COARSE, _SHORT = 8, 32, 64

Sample = dict[str, np.ndarray]


@dataclass(frozen=True)
class Padding:
    """How samples of a model with a mask grow.

    Attributes:
        mask: Name of the input that says which steps are real.
        axes: Axis of the steps in each sample (without its batch axis), by input name.
    """

    mask: str
    axes: Mapping[str, int]

    def pad(self, sample: Sample) -> Sample:
        """The sample, stacked on a first axis of 1, at a rounded length; as it is where its mask leaves the sense open.

        A mask that is 1 (or 0) throughout gets 0 (or 1) on the steps that are added; everything else gets 0.
        """
        mask = sample[self.mask]
        value = mask.flat[0] if mask.size else 0
        if value not in (0, 1) or not (mask == value).all():
            return sample
        more = _rounded(mask.shape[1 + self.axes[self.mask]]) - mask.shape[1 + self.axes[self.mask]]
        fill = {name: 1 - int(value) if name == self.mask else 0 for name in self.axes}
        return {n: _grown(a, 1 + self.axes[n], more, fill[n]) if n in self.axes else a for n, a in sample.items()}


def find_padding(model: ir.Model) -> Padding | None:
    """The padding that the inputs allow: one named ``..mask..`` of batch x steps, both of open size; None without."""
    dims = {v.name or "": list(dims_of(v) or ()) for v in real_inputs(model)}
    batch = batch_axis(model)
    masks = [n for n, d in dims.items() if "mask" in n.lower() and len(d) == 2 and batch.get(n) == 0]
    if len(masks) != 1:
        return None
    steps = dims[masks[0]][1]
    if not isinstance(steps, str):
        return None
    found: dict[str, int] = {}
    for name, sizes in dims.items():
        places = [axis for axis, size in enumerate(sizes) if size == steps]
        if len(places) > 1 or (places and batch.get(name) != 0):
            return None
        found |= {name: places[0] - 1} if places else {}
    return Padding(masks[0], found)


def sizes_of(model: ir.Model, source: DataSource) -> tuple[Padding | None, np.ndarray]:
    """The padding that model and labels allow, and a number for each sample: equal for equal sizes, larger for larger.

    Every sample is read once. Labels of every step would no longer fit padded samples.
    """
    labels = source.labels([0])
    padding = find_padding(model) if labels is None or labels.ndim == 1 else None
    return padding, _ranks(source, padding)


def arrange(order: np.ndarray, ranks: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """`order` with neighbours in size in one batch of `size`, the batches shuffled; an incomplete one comes last."""
    by_size = order[np.argsort(ranks[order], kind="stable")]
    whole = len(order) // size * size
    batches = by_size[:whole].reshape(-1, size)
    return np.concatenate([batches[rng.permutation(len(batches))].reshape(-1), by_size[whole:]])


def equal_parts(
    source: DataSource, indices: np.ndarray, padding: Padding | None = None
) -> Iterator[tuple[np.ndarray, DataSource]]:
    """The samples at `indices` in parts of equal sizes: places among `indices`, and the samples as a source.

    A part holds 1, 2, 4, .. samples, so that a few recordings serve any number.
    """
    samples = [_read(source, int(i), padding) for i in indices]
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for row, sample in enumerate(samples):
        groups.setdefault(_shapes(sample), []).append(row)
    for rows in groups.values():
        for part in _powers(rows):
            stacked = {n: np.concatenate([samples[row][n] for row in part]) for n in samples[part[0]]}
            yield np.array(part), ArraySource(stacked)


def _ranks(source: DataSource, padding: Padding | None) -> np.ndarray:
    shapes = [_shapes(_read(source, i, padding)) for i in range(len(source))]
    place = {shape: i for i, shape in enumerate(sorted(set(shapes)))}
    return np.array([place[shape] for shape in shapes])


def _read(source: DataSource, index: int, padding: Padding | None) -> Sample:
    sample = source.read([index])
    return sample if padding is None else padding.pad(sample)


def _shapes(sample: Sample) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in sample.values())


def _powers(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    start = 0
    while start < len(rows):
        count = 1 << ((len(rows) - start).bit_length() - 1)
        yield rows[start : start + count]
        start += count


def _rounded(length: int) -> int:
    unit = _FINE if length <= _SHORT else _COARSE
    return -(-length // unit) * unit


def _grown(array: np.ndarray, axis: int, more: int, value: int) -> np.ndarray:
    width = [(0, more if at == axis else 0) for at in range(array.ndim)]
    return np.pad(array, width, constant_values=array.dtype.type(value))
