"""What a health model is held to: `--metric samples/health_ecg/metric.py:held`. Higher is better in all.

Each function takes the outputs of all samples by name (`logits` N x C) and the labels; class 1 is the one that must not
be missed. `counted` says by how many samples a figure is divided, so that a gate knows what one of them weighs.
"""

from __future__ import annotations

import numpy as np

POSITIVE = 1
BINS = 15


def sensitivity(outputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
    """Fraction of the positives that are found: TP / (TP + FN)."""
    return float((outputs["logits"].argmax(1)[labels == POSITIVE] == POSITIVE).mean())


def specificity(outputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
    """Fraction of the others that are not called positive: TN / (TN + FP)."""
    return float((outputs["logits"].argmax(1)[labels != POSITIVE] != POSITIVE).mean())


def calibration_error(outputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
    """Minus the expected calibration error (Naeini et al., AAAI 2015; of the top class, Guo et al., 1706.04599).

    ``ECE = sum over 15 equal bins of confidence of |bin| / N * |accuracy(bin) - mean confidence(bin)|``.
    """
    logits = outputs["logits"].astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = odds.max(axis=1) / odds.sum(axis=1)
    right = logits.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [(right[bins == b] - confidence[bins == b]).sum() for b in range(BINS)]
    return -float(np.abs(gaps).sum() / len(labels))


def held(outputs: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Sensitivity and calibration at once: a gate holds each of them."""
    return {"sensitivity": sensitivity(outputs, labels), "calibration": calibration_error(outputs, labels)}


def _positives(labels: np.ndarray) -> int:
    return int((labels == POSITIVE).sum())


def _others(labels: np.ndarray) -> int:
    return int((labels != POSITIVE).sum())


sensitivity.counted = _positives
specificity.counted = _others
calibration_error.counted = len
held.counted = _positives
