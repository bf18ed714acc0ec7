"""Samples that do not train: those that choose the best weights, and those that judge the result."""

from __future__ import annotations

from dataclasses import dataclass

from onnxcompress.data import DataSource
from onnxcompress.errors import DataError
from onnxcompress.report import Finding, Severity

LEAST = 8
"""Samples without which nothing could be held out, and nobody could say whether the result is better."""

_SHARE, _AT_LEAST, _AT_MOST = 10, 64, 2000
# A small set gives a quarter at most: it has to train as well.
_SMALL_SHARE = 4
# Below this many samples a result is told with a warning.
_FEW = 64


@dataclass(frozen=True)
class Split:
    """One data source, parted.

    Attributes:
        train: Samples that train.
        guide: Samples that choose among the weights seen during training.
        judge: Samples that say whether the result is better than the start.
    """

    train: DataSource
    guide: DataSource
    judge: DataSource

    def findings(self) -> list[Finding]:
        """A warning where there are too few samples to learn or to tell much."""
        count, judging = len(self.train), len(self.judge)
        if min(count, judging * _SMALL_SHARE) >= _FEW:
            return []
        message = (
            f"{count} samples train and {judging} judge: expect little, and read its figures as rough; "
            "a few hundred are better, labels are not needed"
        )
        numbers: dict[str, float | int | str] = {"samples": count, "held_out": judging}
        return [Finding("DISTILL-FEW-SAMPLES", message, "", Severity.WARNING, numbers)]


def held_out_count(count: int) -> int:
    """How many of `count` samples are held out: a tenth, 64 to 2,000, and never more than a quarter."""
    tenth = min(max(count // _SHARE, _AT_LEAST), _AT_MOST)
    return max(1, min(tenth, count // _SMALL_SHARE))


def hold_out(data: DataSource, given: DataSource | None, *, seed: int) -> Split:
    """Part `data` by a seeded choice.

    Args:
        data: Samples to train on.
        given: Samples that only measure, a seeded 2,000 of them at most; None holds some out of `data`.
        seed: Seed of the choice.

    Raises:
        DataError: Where both together are fewer than `LEAST`.
    """
    given = given if given is None else given.draw(_AT_MOST, seed=seed)
    total = len(data) + (0 if given is None else len(given))
    if not len(data) or total < LEAST:
        raise _too_few(len(data), total)
    if given is not None and len(data) < LEAST:  # others judge; the few there are both train and choose
        return Split(data, data, given)
    train, guide = data.split(held_out_count(len(data)) / len(data), seed=seed)
    return Split(train, guide, guide if given is None else given)


def _too_few(training: int, total: int) -> DataError:
    if not training:
        return DataError("cannot distill", why="the data holds no sample", hint="Give at least one.", code="DATA-EMPTY")
    there = "there is 1" if total == 1 else f"there are {total}"
    return DataError(
        "cannot distill on so few samples",
        why=f"{there}, and a part is held out to see that the result is no worse; at least {LEAST} are needed",
        hint="Give some hundred; labels are not needed.",
        code="DATA-TOO-FEW",
    )
