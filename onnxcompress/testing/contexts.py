"""A context for a pass that is run on its own, outside of a pass manager."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.data.source import ArraySource
from onnxcompress.passes.base import Context
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import Target, load_target


def context(
    model: ir.Model,
    *,
    data: DataSource | dict[str, np.ndarray] | None = None,
    target: str | Target = "ort-x86-vnni",
    **options: Any,
) -> Context:
    """The context that a pass manager would give a pass that is about to edit `model`.

    Args:
        model: The model; a copy of it becomes `original`, so that it may be edited afterwards.
        data: Samples as a data source, or arrays by input name whose first axis counts samples.
        target: Name of a deployment target, or a Target.
        options: Any other field of `Context`. The runtime is one thread unless `runtime` says otherwise, and the
            teacher is `original` unless `teacher` says otherwise.
    """
    from onnxcompress.graph import clone

    original = options.pop("original", None) or clone(model)
    return Context(
        original=original,
        teacher=options.pop("teacher", None) or original,
        target=target if isinstance(target, Target) else load_target(target),
        data=ArraySource(data) if isinstance(data, dict) else data,
        runtime=options.pop("runtime", None) or RuntimeOptions(threads=1),
        **options,
    )
