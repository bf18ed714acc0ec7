"""The rules behind `normalize`, one a file; each edits the model in place and says how often it applied."""

from onnxcompress.passes.normalizing.loop import normalize

__all__ = ["normalize"]
