"""The graph as ONNX Runtime runs it: which kernels it chose after its own fusions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir
import onnxruntime as ort

from onnxcompress.runtime.faults import ORT_ERRORS, load_error
from onnxcompress.runtime.payload import payload
from onnxcompress.runtime.session import session_settings
from onnxcompress.runtime_options import RuntimeOptions


def optimized_model(model: ir.Model, options: RuntimeOptions | None = None) -> ir.Model:
    """The model after ONNX Runtime's fusions, before its hardware-specific layouts; of large weights only the names.

    Args:
        model: What is loaded; it must be runnable in full.
        options: Providers, custom operators.

    Raises:
        ModelError: Where ONNX Runtime does not load it.
    """
    options = options or RuntimeOptions()
    settings = session_settings(options, optimize=True, spinning=False)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory(prefix="onnxcompress-") as folder, payload(model) as given:
        path = Path(folder) / "optimized.onnx"
        settings.optimized_model_filepath = str(path)
        if given.lent:
            settings.add_external_initializers(*(list(part) for part in zip(*given.lent, strict=True)))
            settings.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
        try:
            ort.InferenceSession(given.source, settings, providers=list(options.providers))
        except ORT_ERRORS as fault:
            raise load_error(fault) from fault
        return ir.load(path)
