"""Random: a seeded draw, the baseline that any other score has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.pruning.trace import Trace


def random_order(found: Trace, ctx: Context) -> np.ndarray:
    """Uniform on [0.5, 1.5), one number a class, the same for the same seed; needs no data."""
    drawn = np.random.Generator(np.random.PCG64(ctx.seed)).random(len(found.atoms)) + 0.5
    return drawn[found.atoms.roots(np.arange(len(found.atoms)))]
