"""The pattern N:M: of every M consecutive weights along the reduction axis at most N are not zero."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from onnxcompress.errors import UsageError

_PATTERN = re.compile(r"(\d{1,4}):(\d{1,4})")


@dataclass(frozen=True)
class NM:
    """A pattern.

    Attributes:
        n: Weights that stay, of each group.
        m: Weights of a group.
    """

    n: int
    m: int

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return 1 - self.n / self.m

    def mask(self, scores: np.ndarray) -> np.ndarray:
        """True where a weight goes: all but the n largest of every m along the last axis, the later ones of equals.

        Args:
            scores: Shape (..., columns), columns a multiple of m.
        """
        grouped = scores.reshape(*scores.shape[:-1], -1, self.m)
        order = np.argsort(-grouped, axis=-1, kind="stable")
        gone = np.zeros(grouped.shape, bool)
        np.put_along_axis(gone, order[..., self.n :], True, axis=-1)
        return gone.reshape(scores.shape)


def pattern_of(text: str) -> NM | None:
    """The pattern that `text` writes as ``N:M``; None where it is not of that form.

    Raises:
        UsageError: Where N and M make no pattern.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    n, m = int(found[1]), int(found[2])
    if not 1 <= n < m:
        raise UsageError(
            f"--weights {text} is no pattern",
            why=f"N:M keeps N of every M weights, and {n} of {m} cannot be kept and leave any out",
            hint="Write 2:4, 4:8 or 1:4: first the smaller number.",
            code="USAGE-PRUNE-PATTERN",
        )
    return NM(n, m)
