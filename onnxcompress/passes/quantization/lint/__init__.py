"""What a runtime would refuse in a quantized model, or run in float in spite of it, found without that runtime.

One file a runtime, one rule a function, each with the document that it is taken from. A target names its rules in its
file (``lint = "tensorrt"``).
"""

from onnxcompress.passes.quantization.lint.linting import lint, rules_of

__all__ = ["lint", "rules_of"]
