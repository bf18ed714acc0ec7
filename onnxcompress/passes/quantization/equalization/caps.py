"""Clips from zero to a cap, ReLU6 above all: which scales leave what reaches them as it is.

Clip(x / s, 0, c) is Clip(x, 0, c) / s for every x that stays below the cap on both scales: x <= c and x <= c s. So a
channel whose largest value m over the samples, with some room, is below c may be scaled as long as s >= m / c; one that
reaches the cap keeps the scale 1. Beyond what the samples show the function differs, where integers saturate anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.quantization.equalization.activations import Seen
from onnxcompress.passes.quantization.equalization.marks import Cap

_ROOM = 1.25


@dataclass(frozen=True, eq=False)
class Limits:
    """What the scales must keep to, by atom.

    Attributes:
        held: True where the scale is 1.
        least: Smallest exponent of two; minus infinity where there is none.
    """

    held: np.ndarray
    least: np.ndarray


def limits_of(caps: Sequence[Cap], seen: Sequence[Seen], roots: np.ndarray) -> Limits:
    """The limits that the caps set; a cap whose tensor was not observed holds all of its channels."""
    held = np.zeros(len(roots), np.bool_)
    least = np.full(len(roots), -np.inf)
    held[0] = True
    at = {each.value: each for each in seen}
    for cap in caps:
        found = at.get(cap.value)
        if found is None:
            held[roots[cap.ids.ravel()]] = True
            continue
        ids, peaks = roots[found.ids], np.maximum(found.peaks, 1e-30) * _ROOM / cap.high
        held[ids[peaks > 1]] = True
        np.maximum.at(least, ids, np.ceil(np.log2(peaks)))
    return Limits(held, least)
