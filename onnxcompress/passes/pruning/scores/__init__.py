"""Scores: how much each channel matters, one small file a rule, found by name without importing any of them.

A score is a function `(found, ctx) -> values` that gives one number an atom, its class's: about 1 for an average
channel, less for one that may go sooner, NaN where the rule has nothing to say (`importance` fills in there).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.pruning.trace import Trace

Score = Callable[["Trace", "Context"], Any]
"""`(found, ctx) -> values`: a float64 array of one number an atom."""

SCORES: Mapping[str, str] = MappingProxyType(
    {
        "l2": "onnxcompress.passes.pruning.scores.l2:l2",
        "l1": "onnxcompress.passes.pruning.scores.l1:l1",
        "geometric-median": "onnxcompress.passes.pruning.scores.geometric_median:geometric_median",
        "batchnorm": "onnxcompress.passes.pruning.scores.batchnorm:batchnorm",
        "random": "onnxcompress.passes.pruning.scores.random_order:random_order",
    }
)
NAMES: tuple[str, ...] = tuple(SCORES)


def load_score(name: str) -> Score:
    """The function registered under `name`, one of `NAMES`."""
    module, attribute = SCORES[name].split(":")
    return getattr(importlib.import_module(module), attribute)
