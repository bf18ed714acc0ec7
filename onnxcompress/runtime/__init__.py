"""ONNX Runtime: sessions, taps of intermediate tensors, latency."""

from onnxcompress.runtime.session import Session

__all__ = ["Session"]
