"""The engine of `fold-batchnorm`; its algebra is told in `onnxcompress.passes.fold_batchnorm`."""

from onnxcompress.passes.batchnorm.folding import fold_all

__all__ = ["fold_all"]
