"""How a model's outputs become a score: a small reduction of each run, then a figure of all of them.

A score that is a mean over samples compares two models by the paired interval of Agresti and Min; any other by the
jackknife over groups (onnxcompress.verify.intervals).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from catalog import Arrays
from hard.boxes import boxes, hmean

Reduce = Callable[[Arrays], np.ndarray]
"""Outputs of one run, by name in the model's order -> one row a sample."""


@dataclass(frozen=True)
class Measure:
    """One way to judge outputs.

    Attributes:
        name: What the figure is called.
        reduce: Keeps of a run's outputs what the figure needs.
        hits: ``f(rows, labels) -> bool`` a sample, where the score is their mean.
        score: ``f(rows, labels) -> float`` otherwise; both None for `SQNR`, which is taken against the float model.
    """

    name: str
    reduce: Reduce
    hits: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    score: Callable[[np.ndarray, np.ndarray], float] | None = None


def first(outputs: Arrays) -> np.ndarray:
    """The first output."""
    return next(iter(outputs.values()))


def last(outputs: Arrays) -> np.ndarray:
    """The last output."""
    return list(outputs.values())[-1]


def top1(outputs: Arrays) -> np.ndarray:
    """The class of each sample by the first output."""
    return first(outputs).reshape(len(first(outputs)), -1).argmax(axis=1)


def flat(outputs: Arrays) -> np.ndarray:
    """Every float output of a run, end to end."""
    return np.concatenate([np.ravel(v).astype(np.float32) for v in outputs.values() if v.dtype.kind == "f"])


def ctc_text(outputs: Arrays) -> np.ndarray:
    """Greedy CTC decoding as rows of class numbers, padded by -1: repeats merged, then the blank (0) left out."""
    best = first(outputs).argmax(axis=2)
    kept = (best != 0) & np.concatenate([np.ones((len(best), 1), bool), best[:, 1:] != best[:, :-1]], axis=1)
    rows = np.full(best.shape, -1, np.int64)
    rows[np.nonzero(kept)[0], (np.cumsum(kept, axis=1) - 1)[kept]] = best[kept]
    return rows


def same_rows(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether a whole row is right, whatever padding stands behind it."""
    wide = max(rows.shape[1], labels.shape[1])
    padded = (np.pad(a, ((0, 0), (0, wide - a.shape[1])), constant_values=-1) for a in (rows, labels))
    left, right = padded
    return (left == right).all(axis=1)


def text_boxes(outputs: Arrays) -> np.ndarray:
    """Boxes of each page, (pages, boxes, 4)."""
    return np.stack([boxes(map_[0]) for map_ in first(outputs)])


def equal_error_rate(rows: np.ndarray, labels: np.ndarray) -> float:
    """1 minus the equal error rate of all pairs of embeddings by cosine."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    upper = np.triu_indices(len(unit), 1)
    score, same = (unit @ unit.T)[upper], (labels[:, None] == labels[None, :])[upper]
    order = np.argsort(score)
    missed = np.cumsum(same[order]) / max(same.sum(), 1)
    accepted = 1.0 - np.cumsum(~same[order]) / max((~same).sum(), 1)
    at = int(np.argmin(np.abs(missed - accepted)))
    return float(1.0 - (missed[at] + accepted[at]) / 2)


def nearest_is_alike(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the nearest other embedding by cosine carries the same label."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2.0)
    return labels[cosine.argmax(axis=1)] == labels


def equal(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the class is right."""
    return rows.reshape(-1) == labels


ACCURACY = Measure("accuracy", top1, hits=equal)
SQNR = Measure("SQNR dB", flat)
BY_MODEL = {
    "resemblyzer": Measure("1 - EER", first, score=equal_error_rate),
    "point_history_classifier_lstm": Measure("accuracy", lambda outputs: outputs["class_ids"], hits=equal),
}
BY_NAME = {
    "accuracy": ACCURACY,
    "sqnr": SQNR,
    "text lines": Measure("whole lines", ctc_text, hits=same_rows),
    "text boxes": Measure("hmean", text_boxes, score=hmean),
    "nearest": Measure("nearest is alike", last, hits=nearest_is_alike),
}
"""By the name that a folder's .json gives."""
