"""Labels: whether anything looks at them, and whether they are classes of the student's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxcompress.data import DataSource
from onnxcompress.distill.batches import Run, labels_in_parts
from onnxcompress.distill.losses.labels import IGNORED
from onnxcompress.distill.outputs import Answer
from onnxcompress.errors import DataError
from onnxcompress.report import Finding

_ROW = 2


def check_labels(runs: Sequence[Run], terms: Mapping[str, float]) -> list[Finding]:
    """A note where there are labels that the loss does not look at."""
    if "ce" in terms or not any(run.labels is not None for run in runs):
        return []
    message = "the labels train nothing, they only measure; --loss kl:0.9,ce:0.1 would use them"
    return [Finding("DISTILL-LABELS-UNUSED", message)]


def check_class_ids(source: DataSource, answers: Sequence[Answer], sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Labels that the student is to learn are ids of its classes, one for each place that it puts into a class.

    Args:
        source: Samples with labels.
        answers: The outputs; labels belong to the first that is a choice among classes.
        sizes: Sizes of the student's tensors for some samples.

    Raises:
        DataError: With the first sample whose label is none.
    """
    answer = next(a for a in answers if a.classes)
    for first, labels in labels_in_parts(source):
        if not np.issubdtype(labels.dtype, np.integer):
            return
        _check_rows(source, first, labels, answer, sizes)


def _check_rows(
    source: DataSource, start: int, labels: np.ndarray, answer: Answer, sizes: Mapping[str, tuple[int, ...]]
) -> None:
    """The labels of the samples from `start` on."""
    shape, classes = sizes[answer.name], sizes[answer.name][answer.axis]
    if labels.ndim != len(shape) - 1:
        wanted = "one label a sample" if len(shape) == _ROW else f"labels of {len(shape) - 2} axes a sample"
        why = f"a sample's label has the shape {list(labels.shape[1:])}, and output {answer.name!r} wants {wanted}"
        raise _labels_unfit("", why)
    wrong = ((labels < 0) | (labels >= classes)) & (labels != IGNORED)
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"sample {source.origin(start + first[0])}"
        raise _labels_unfit(
            where, f"its label is {labels[first]}, and the classes of {answer.name!r} are 0 to {classes - 1}"
        )


def _labels_unfit(where: str, why: str) -> DataError:
    hint = "Give class ids counted from 0, or leave ce out of --loss."
    return DataError("the labels cannot be learned", where=where, why=why, hint=hint, code="DATA-LABELS")
