"""From the map of a text detector to boxes, and the harmonic mean of precision and recall at an overlap of one half."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

MOST = 64
"""Boxes kept of one page; absent ones are -1."""


def boxes(map_: np.ndarray, threshold: float = 0.3, score: float = 0.5, unclip: float = 1.2) -> np.ndarray:
    """Boxes (left, top, right, bottom) of one map (height, width), (`MOST`, 4) float32.

    Connected regions over `threshold` whose mean reaches `score`, grown by ``area * unclip / perimeter`` on each side
    (the detector is trained on shrunken regions; Liao et al. 2020, Real-time scene text detection with DB). Boxes of
    the ink alone need less growth than the 1.6 of the detector's authors.
    """
    labels, _ = ndimage.label(map_ > threshold)
    found = np.full((MOST, 4), -1, np.float32)
    kept = 0
    for number, region in enumerate(ndimage.find_objects(labels), 1):
        rows, columns = region
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        inside = labels[region] == number
        if min(high, wide) < 3 or map_[region][inside].mean() < score or kept == MOST:
            continue
        grow = high * wide * unclip / (2 * (high + wide))
        found[kept] = columns.start - grow, rows.start - grow, columns.stop + grow, rows.stop + grow
        kept += 1
    return found


def padded(given: list[list[tuple[int, int, int, int]]]) -> np.ndarray:
    """Lists of boxes as one array (pages, `MOST`, 4)."""
    rows = np.full((len(given), MOST, 4), -1, np.float32)
    for row, found in zip(rows, given, strict=True):
        if found:
            row[: len(found)] = found[:MOST]
    return rows


def hmean(found: np.ndarray, wanted: np.ndarray) -> float:
    """2 tp / (found + wanted) over all pages; a wanted box is met once, by intersection over union of at least 0.5."""
    met = sum(_met(*pair) for pair in zip(found, wanted, strict=True))
    return 2 * met / max(int((found[..., 2] > 0).sum() + (wanted[..., 2] > 0).sum()), 1)


def _met(found: np.ndarray, wanted: np.ndarray) -> int:
    found, wanted = found[found[:, 2] > 0], wanted[wanted[:, 2] > 0]
    low = np.maximum(found[:, None, :2], wanted[None, :, :2])
    high = np.minimum(found[:, None, 2:], wanted[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    area = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (found, wanted)]
    overlap = both / np.maximum(area[0][:, None] + area[1][None, :] - both, 1e-9)
    return int(min((overlap >= 0.5).any(axis=0).sum(), (overlap >= 0.5).any(axis=1).sum())) if overlap.size else 0
