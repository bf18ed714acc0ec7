"""The range rule `kl`: the clipping threshold with the least Kullback-Leibler divergence (TensorRT's entropy rule).

For a threshold T the magnitudes in [0, T] are distribution P, with everything above T added to its last bucket. Q is
what the grid can tell: each of the L levels of [0, T] spreads its mass evenly over the filled buckets inside it, in
proportion to their width. With n_b the count and w_b the width of bucket b, N all elements, N_T those below T, M_l and
W_l the sums of n and w over the filled buckets of level l,

    KL(P || Q) = sum_b p_b log(p_b / q_b),   p_b = n_b / N,   q_b = (M_l / N_T) (w_b / W_l)

Both halves are sums over contiguous buckets, so with prefix sums of n, w and n log(n / w) each threshold costs O(L):
exact, where onnxruntime's loop truncates means to integers and leaves the last bins out. The mass at exactly zero is
left out, as it would pull the threshold of a tensor after ReLU to a fraction of its range.
"""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.float_histogram import Buckets, FloatHistogram
from onnxcompress.calibrators.histogram import folded
from onnxcompress.calibrators.mse import sane_bounds
from onnxcompress.calibrators.uniform import bounds, uniform

_MOST = 1024  # thresholds tried
# A threshold keeps at least this share of the elements unclipped. Where most elements have one value (the background
# of a picture), a range that ends just above it diverges least, and loses everything else.
_LEAST_INSIDE = 0.99
_THINNEST = 2.0**-16  # of its value: a bucket cut to its one value would have the density of infinity


def kl(hist: FloatHistogram, *, levels: int = 256, symmetric: bool = False) -> tuple[float, float]:
    """The range cut at the magnitude whose divergence is least; the largest magnitude is always one candidate.

    Args:
        hist: What was seen.
        levels: Grid points of the whole range; half of them lie on either side of zero.
        symmetric: Give (-a, a).
    """
    found = hist.buckets()
    if not found.count.size:
        return uniform(hist, symmetric=symmetric)
    low, high = sane_bounds(hist, found, levels)
    largest = max(-low, high)
    magnitude = folded(found)
    keep = magnitude.high <= largest
    magnitude = Buckets(magnitude.low[keep], magnitude.high[keep], magnitude.count[keep], 0)
    ends = _candidates(magnitude)
    best = float(magnitude.high[ends[int(np.argmin(divergence(magnitude, ends, levels // 2)))]])
    return bounds(max(low, -best), min(high, best), symmetric)


def divergence(magnitude: Buckets, ends: np.ndarray, levels: int) -> np.ndarray:
    """KL(P || Q) in nats for each threshold ``magnitude.high[end]``.

    Args:
        magnitude: Buckets of the magnitudes, ascending, zeros left out.
        ends: Indices of the last bucket inside the threshold.
        levels: Levels between zero and the threshold.
    """
    count, width = magnitude.count.astype(np.float64), np.maximum(magnitude.width, _THINNEST * magnitude.high)
    total = count.sum()
    mass, widths = _prefix(count), _prefix(width)
    entropy = _prefix(count * np.log(count / width))
    inside = mass[ends + 1]
    cuts = _cuts(magnitude, ends, levels)
    level_mass, level_width = np.diff(mass[cuts], axis=1), np.diff(widths[cuts], axis=1)
    filled = level_mass > 0
    ratio = np.divide(level_mass, level_width, out=np.ones_like(level_mass), where=filled)
    spread = (level_mass * np.log(ratio)).sum(axis=1)
    body = (entropy[ends + 1] - spread) / total + inside / total * np.log(inside / total)
    return body + _clipped(count, width, ratio, filled, ends, total, inside)


def _clipped(
    count: np.ndarray,
    width: np.ndarray,
    ratio: np.ndarray,
    filled: np.ndarray,
    ends: np.ndarray,
    total: float,
    inside: np.ndarray,
) -> np.ndarray:
    """What changes as the clipped mass is added to the last bucket of P, but not to Q."""
    last = filled.shape[1] - 1 - np.argmax(filled[:, ::-1], axis=1)
    share = ratio[np.arange(len(ends)), last] * width[ends] / inside  # q of the last bucket
    before, after = count[ends] / total, (count[ends] + total - inside) / total
    return after * np.log(after / share) - before * np.log(before / share)


def _cuts(magnitude: Buckets, ends: np.ndarray, levels: int) -> np.ndarray:
    """Bucket index at which each level begins, for each threshold: (thresholds, levels + 1)."""
    edges = magnitude.high[ends][:, None] * (np.arange(levels + 1) / levels)[None, :]
    cuts = np.searchsorted(magnitude.low, edges.reshape(-1)).reshape(edges.shape)
    cuts[:, 0], cuts[:, -1] = 0, ends + 1
    return np.minimum(cuts, (ends + 1)[:, None])


def _candidates(magnitude: Buckets) -> np.ndarray:
    """Indices of the buckets at whose upper edge the range may be cut; the last one is among them."""
    reached = np.cumsum(magnitude.count)
    first = int(np.searchsorted(reached, _LEAST_INSIDE * reached[-1]))
    every = np.arange(first, len(reached))
    thin = -(-len(every) // _MOST)
    return np.unique(np.concatenate([every[::thin], every[-1:]]))


def _prefix(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values)])
