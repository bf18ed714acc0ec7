"""Which tensors lose most in int8, found without labels, and which of them stay float."""

from onnxcompress.passes.quantization.sensitivity.islands import Islands, find_islands

__all__ = ["Islands", "find_islands"]
