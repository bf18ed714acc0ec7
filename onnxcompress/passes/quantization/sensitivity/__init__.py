"""Which tensors lose most in int8, found without labels, and which of them stay float."""

from onnxcompress.passes.quantization.sensitivity.islands import Islands, Material, find_islands

__all__ = ["Islands", "Material", "find_islands"]
