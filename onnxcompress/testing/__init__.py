"""For tests of passes, ours and yours: contexts, text comparisons, random models and the conformance kit.

Needs numpy, onnx_ir and ONNX Runtime only.
"""

from __future__ import annotations

from onnxcompress.testing.contexts import context

__all__ = ["context"]
