"""What a file, a folder or a caller offers, before the model has said what it wants of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np


@dataclass(frozen=True)
class Stored:
    """One array under one key; only its header has been read.

    Attributes:
        shape: Of the whole array.
        dtype: As stored.
        load: Gives the array, as a memory map where the file allows it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Parts:
    """Many arrays under one key: files of a folder, or what an iterable yielded; each is a sample or a batch.

    Attributes:
        shapes: Shape of each part, in order.
        dtype: Common dtype.
        load: Gives part `i`.
    """

    shapes: Sequence[tuple[int, ...]]
    dtype: np.dtype
    load: Callable[[int], np.ndarray]


Table: TypeAlias = Mapping[str, Stored | Parts]
"""Arrays by key; the key is empty for data that has no names (one .npy, a plain list of arrays)."""

_LABEL_KEY = re.compile(r"y|labels?|targets?|(y|labels?)_.*|.*_(y|labels?)", re.IGNORECASE)


def of_array(array: np.ndarray) -> Stored:
    """An array in memory."""
    return Stored(array.shape, array.dtype, lambda: array)


def looks_like_labels(key: str) -> bool:
    """True for keys by which labels go in common npz files: y, labels, y_train, calib_y."""
    return _LABEL_KEY.fullmatch(key) is not None


def label_keys(key: str) -> list[str]:
    """Keys under which the labels of the samples in `key` may lie, the most specific first."""
    suffix = key[1:] if key[:2].lower() == "x_" else None
    paired = [f"y{suffix}", f"labels{suffix}"] if suffix else [f"{key}_y", f"y_{key}", f"{key}_labels"]
    return [*paired, "labels", "label", "y", "targets"]
