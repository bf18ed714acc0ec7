"""Samples for calibration, reconstruction, training and measuring: opened lazily, fitted to the model, checked."""

from onnxcompress.data.binding import parse_mapping
from onnxcompress.data.canonical import CanonicalSource, canonical
from onnxcompress.data.checks import check_data, remarks
from onnxcompress.data.inputs import InputSpec, input_specs
from onnxcompress.data.metrics import count_of, load_metric, scores_by_name
from onnxcompress.data.noise import looks_like_noise
from onnxcompress.data.opening import open_data
from onnxcompress.data.preprocess import PRESETS
from onnxcompress.data.source import ArraySource, DataSource, SubsetSource

__all__ = [
    "PRESETS",
    "ArraySource",
    "CanonicalSource",
    "DataSource",
    "InputSpec",
    "SubsetSource",
    "canonical",
    "check_data",
    "count_of",
    "input_specs",
    "load_metric",
    "looks_like_noise",
    "open_data",
    "parse_mapping",
    "remarks",
    "scores_by_name",
]
