"""ONNX Runtime: sessions, samples through a model, taps of intermediate tensors, latency."""

from onnxcompress.runtime.batching import batch_axis, dims_of, real_inputs
from onnxcompress.runtime.latency import LatencyResult, batch_for, latency
from onnxcompress.runtime.parallel import in_order, one_thread, runs_at_once
from onnxcompress.runtime.runnable import foreign_ops, runnable_part
from onnxcompress.runtime.session import InputSpec, Session
from onnxcompress.runtime.source import Outputs, feeds_of, run_source

__all__ = [
    "InputSpec",
    "LatencyResult",
    "Outputs",
    "Session",
    "batch_axis",
    "batch_for",
    "dims_of",
    "feeds_of",
    "foreign_ops",
    "in_order",
    "latency",
    "one_thread",
    "real_inputs",
    "run_source",
    "runnable_part",
    "runs_at_once",
]
