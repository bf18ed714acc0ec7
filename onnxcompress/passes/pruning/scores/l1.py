"""L1: the sum of the absolute weights of a channel, |W_i|_1.

Source: Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017, arXiv:1608.08710).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.passes.pruning.scores.group import by_group

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.pruning.trace import Trace


def l1(found: Trace, ctx: Context) -> np.ndarray:
    """One number an atom, see `by_group`; needs no data."""
    return by_group(found, lambda rows: np.abs(rows).sum(axis=1))
