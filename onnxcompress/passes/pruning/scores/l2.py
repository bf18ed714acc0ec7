"""L2: the Euclidean norm of a channel's weights, |W_i|_2.

Source: He et al., "Soft Filter Pruning" (IJCAI 2018, arXiv:1808.06866).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.passes.pruning.scores.group import by_group

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.pruning.trace import Trace


def l2(found: Trace, ctx: Context) -> np.ndarray:
    """One number an atom, see `by_group`; needs no data."""
    return by_group(found, lambda rows: np.sqrt(np.einsum("ij,ij->i", rows, rows)))
