"""``random:N``: made-up samples, to see whether a command runs at all; nothing measured on them means anything."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from onnxcompress.data.inputs import InputSpec
from onnxcompress.data.source import ArraySource
from onnxcompress.errors import DataError, UsageError

_SPEC = re.compile(r"random:(\d+)")
# Real pictures, spectra and signals are above 0.4 along some axis; white noise is at 0 +- 1 / sqrt(pairs).
_UNRELATED = 0.05
_PAIRS, _LENGTH = 2000, 8


class NoiseSource(ArraySource):
    """Samples drawn at random."""

    @property
    def synthetic(self) -> bool:
        return True


def is_noise_spec(spec: str) -> bool:
    """True for ``random:N``."""
    return spec.startswith("random:")


def make_noise(spec: str, inputs: Sequence[InputSpec]) -> NoiseSource:
    """The samples that ``random:N`` stands for: standard normal floats, and zeros and ones for other types.

    Raises:
        UsageError: Where N is no count.
        DataError: Where a size of an input is open, or its type holds no numbers.
    """
    found = _SPEC.fullmatch(spec)
    if not found or not int(found.group(1)):
        raise UsageError(f"--data {spec}: no number of samples", hint="Write random:100.", code="USAGE-DATA")
    rng = np.random.Generator(np.random.PCG64(0))
    return NoiseSource({one.name: _draw(rng, int(found.group(1)), one) for one in inputs})


def _draw(rng: np.random.Generator, count: int, spec: InputSpec) -> np.ndarray:
    sizes = [d for d in spec.sample_dims or () if isinstance(d, int)]
    if spec.sample_dims is None or len(sizes) < len(spec.sample_dims) or spec.dtype.hasobject:
        raise DataError(
            "cannot make up samples",
            where=f"input {spec}",
            why="its type holds no numbers" if spec.dtype.hasobject else "a size of it is open",
            hint="Save some samples as npz; real ones are needed for a result that means anything.",
            code="DATA-RANDOM",
        )
    shape = (count, *sizes)
    if spec.dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(spec.dtype)
    return rng.standard_normal(shape).astype(spec.dtype)


def looks_like_noise(array: np.ndarray) -> bool:
    """True where neighbours along no axis of some samples have anything to do with each other.

    Along each axis behind the first, with the mean over the samples taken off: E[x_i x_(i+1)] / E[x^2]. Tables (one
    axis behind the samples) are left alone: their columns may well be unrelated.
    """
    if array.ndim < 3 or array.dtype.kind != "f" or len(array) < 2:
        return False
    centred = array.astype(np.float64) - array.astype(np.float64).mean(0, keepdims=True)
    power = float(np.mean(np.square(centred)))
    axes = [axis for axis in range(1, array.ndim) if array.shape[axis] >= _LENGTH]
    if not axes or not power or centred.size < 2 * _PAIRS:
        return False
    return all(abs(_neighbours(centred, axis)) < _UNRELATED * power for axis in axes)


def _neighbours(centred: np.ndarray, axis: int) -> float:
    moved = np.moveaxis(centred, axis, 0)
    return float(np.mean(moved[:-1] * moved[1:]))
