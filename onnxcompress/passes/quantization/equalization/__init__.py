"""Equalization: move ranges between the layers of a float model, so that it computes the same and quantizes better.

Every element of a tensor carries a class of channels (`marks`). Dividing all elements of a class by s, and multiplying
what reads them by s, changes nothing where everything in between commutes with a positive factor (`rules`,
`rules_linear`, `movement`). What s should be is chosen by the rounding noise that it leaves (`noise`, `candidates`).
"""

from onnxcompress.passes.quantization.equalization.equalize import equalize

__all__ = ["equalize"]
