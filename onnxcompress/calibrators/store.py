"""Histograms kept for later: what has been counted once is not counted again, whichever target or rule asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.calibrators.streaming import collect
from onnxcompress.data import DataSource
from onnxcompress.model_io import fingerprint


class Statistics:
    """Histograms by model, samples and tensor. Callers must not change those that they are given."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[str, FloatHistogram]] = {}

    def collect(
        self, model: ir.Model, source: DataSource, tensor_names: Sequence[str], **options: Any
    ) -> dict[str, FloatHistogram]:
        """As `onnxcompress.calibrators.collect`, which runs only for tensors that are not here yet."""
        kept = self._kept.setdefault((fingerprint(model), source.fingerprint()), {})
        missing = [name for name in dict.fromkeys(tensor_names) if name not in kept]
        if missing:
            kept |= collect(model, source, missing, **options)
        return {name: kept[name] for name in tensor_names}
