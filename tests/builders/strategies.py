"""Hypothesis strategies over the package's random models; a smaller example is one with fewer operators."""

from __future__ import annotations

import onnx_ir as ir
from hypothesis import strategies as st

from onnxcompress.testing import random_model


def models(most_steps: int = 14) -> st.SearchStrategy[ir.Model]:
    """Random models; a failing one shrinks to few steps and a small seed."""
    return st.builds(
        lambda steps, seed: random_model(seed, steps=steps), st.integers(1, most_steps), st.integers(0, 10**6)
    )
