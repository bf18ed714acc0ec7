"""ONNX Runtime: sessions, samples through a model, taps of intermediate tensors, latency."""

from onnxcompress.runtime.batching import batch_axis, dims_of, real_inputs
from onnxcompress.runtime.runnable import runnable_part
from onnxcompress.runtime.session import InputSpec, Session
from onnxcompress.runtime.source import Outputs, feeds_of, run_source

__all__ = [
    "InputSpec",
    "Outputs",
    "Session",
    "batch_axis",
    "dims_of",
    "feeds_of",
    "real_inputs",
    "run_source",
    "runnable_part",
]
