"""For tests of passes, ours and yours: contexts, text comparisons, random models and the conformance kit.

Needs numpy, onnx_ir and ONNX Runtime only.
"""

from __future__ import annotations

from onnxcompress.testing.conformance import ConformanceReport, check_pass
from onnxcompress.testing.contexts import context
from onnxcompress.testing.random_models import random_feeds, random_model
from onnxcompress.testing.texts import assert_pass, model_of, normal_text

__all__ = [
    "ConformanceReport",
    "assert_pass",
    "check_pass",
    "context",
    "model_of",
    "normal_text",
    "random_feeds",
    "random_model",
]
