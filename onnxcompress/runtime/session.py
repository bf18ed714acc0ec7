"""One ONNX Runtime session over a model in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from onnxcompress.model_io import to_bytes
from onnxcompress.runtime_options import RuntimeOptions


class Session:
    """A model, loaded and ready to run.

    Args:
        model: The model; models above 2 GB go through a temporary external-data file.
        options: Providers, threads, custom operators.
        optimize: True for all of ONNX Runtime's graph optimizations, False for none (the oracle).
        taps: Names of intermediate tensors that are returned as extra outputs.
    """

    def __init__(
        self,
        model: ir.Model,
        options: RuntimeOptions | None = None,
        *,
        optimize: bool = True,
        taps: Sequence[str] = (),
    ) -> None:
        options = options or RuntimeOptions()
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = options.threads
        level = ort.GraphOptimizationLevel
        settings.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        for library in options.custom_ops:
            settings.register_custom_ops_library(str(library))
        self._ort = ort.InferenceSession(to_bytes(model), settings, providers=list(options.providers))
        self.input_names = [i.name for i in self._ort.get_inputs()]
        self.output_names = [o.name for o in self._ort.get_outputs()]

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The named outputs (all by default) for one batch of inputs."""
        names = list(outputs) if outputs is not None else self.output_names
        return dict(zip(names, self._ort.run(names, dict(feeds)), strict=True))
