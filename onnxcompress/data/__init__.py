"""Samples for calibration, reconstruction, training and measuring."""

from onnxcompress.data.source import ArraySource, DataSource

__all__ = ["ArraySource", "DataSource"]
