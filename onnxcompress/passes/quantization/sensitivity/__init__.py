"""Which tensors lose most in integers, found without labels: other ranges for them, and which of them stay float."""

from onnxcompress.passes.quantization.sensitivity.stage import refine, thrift

__all__ = ["refine", "thrift"]
