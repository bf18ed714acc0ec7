"""Shapes of tensors, and seeded inputs that a model accepts."""

from onnxcompress.shapes.infer import infer, types
from onnxcompress.shapes.probe import batch_symbols, probe_feeds
from onnxcompress.shapes.sampled import sampled_shapes
from onnxcompress.shapes.table import ShapeTable

__all__ = ["ShapeTable", "batch_symbols", "infer", "probe_feeds", "sampled_shapes", "types"]
