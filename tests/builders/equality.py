"""The oracle of every exact rewrite: ONNX Runtime without optimizations on the model before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

REFUSALS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


def run(model: onnx.ModelProto, feeds: dict[str, Any], *, optimize: bool = False) -> list[Any]:
    """All outputs of `model`, on one thread."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def run_or_none(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any] | None:
    """All outputs of `model`; None where ONNX Runtime cannot run it."""
    try:
        return run(model, feeds)
    except REFUSALS:
        return None


# ONNX Runtime computes float16 chains in float32 on a CPU: where such a chain ends moves the last bit.
_TOLERANCE = {np.dtype(np.float16): 2e-3}


def difference(before: list[Any], after: list[Any], tolerance: float = 1e-5) -> str:
    """What differs between two runs, in one line; empty where nothing does."""
    if len(before) != len(after):
        return f"{len(before)} outputs became {len(after)}"
    return next((text for b, a in zip(before, after, strict=True) if (text := _one(b, a, tolerance))), "")


def _one(before: Any, after: Any, tolerance: float) -> str:
    if isinstance(before, list):
        return difference(before, after, tolerance) if isinstance(after, list) else "a list became something else"
    if not isinstance(before, np.ndarray) or before.dtype.kind not in "biufc":
        return "" if np.array_equal(before, after) else f"{before!r} became {after!r}"
    if before.dtype != after.dtype or before.shape != after.shape:
        return f"{before.dtype}{before.shape} became {after.dtype}{after.shape}"
    tolerance = max(tolerance, _TOLERANCE.get(before.dtype, 0))
    scale = tolerance * max(1.0, float(np.nanmax(np.abs(before[np.isfinite(before)]), initial=0)))
    same = np.allclose(before, after, rtol=tolerance, atol=scale, equal_nan=True)
    return "" if same else f"largest difference {np.nanmax(np.abs(before.astype(float) - after.astype(float)))}"


def interface(model: onnx.ModelProto) -> list[bytes]:
    """Inputs and outputs as they are declared, for comparison."""
    return [v.SerializeToString(deterministic=True) for v in [*model.graph.input, *model.graph.output]]


def is_checked(model: onnx.ModelProto) -> bool:
    """True where ONNX's checker, with its type and shape inference, accepts `model`."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True
