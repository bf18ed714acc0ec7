"""Prune one file by onnxsim and print what came of it as JSON. Runs in onnxsim's environment.

python benchmarks/peers/onnxsim_one.py FILE RATIO
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from found import distance, only_kept
from onnx import numpy_helper
from onnxsim.pruning import apply_structured_pruning

NEVER_ZERO = ("running_var", "num_batches")


def main() -> None:
    path, ratio = sys.argv[1], float(sys.argv[2])
    model = onnx.load(path)
    start = time.perf_counter()
    try:
        pruned = apply_structured_pruning(model, sparsity=ratio)
        row: dict[str, Any] = {"s": round(time.perf_counter() - start, 2), "kept": _weights(pruned) / _weights(model)}
        row["error"] = _error(model, pruned)
    except Exception as error:  # noqa: BLE001  whatever a peer throws is a row of the table
        row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    print(json.dumps(row))


def _arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _weights(model: onnx.ModelProto) -> int:
    """Float elements, those of Constant nodes too."""
    arrays = list(_arrays(model).values())
    arrays += [
        numpy_helper.to_array(a.t)
        for n in model.graph.node
        if n.op_type == "Constant"
        for a in n.attribute
        if a.HasField("t")
    ]
    return sum(array.size for array in arrays if array.dtype.kind == "f" and array.ndim)


def _error(model: onnx.ModelProto, pruned: onnx.ModelProto) -> float:
    reference, after = onnx.ModelProto(), _arrays(pruned)
    reference.CopyFrom(model)
    for tensor in reference.graph.initializer:
        array, left = numpy_helper.to_array(tensor), after.get(tensor.name)
        if left is not None and left.shape != array.shape and not any(word in tensor.name for word in NEVER_ZERO):
            tensor.CopyFrom(numpy_helper.from_array(only_kept(array, left), tensor.name))
    onnx.checker.check_model(pruned, full_check=True)
    feeds = _feeds(model)
    wanted, got = (_run(m, feeds) for m in (reference, pruned))
    return max(distance(a, b) for a, b in zip(wanted, got, strict=True) if a.dtype.kind == "f")


def _feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    rng, feeds = np.random.default_rng(0), {}
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in constants:
            continue
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        sizes = [d.dim_value or (2 if at == 0 else 16) for at, d in enumerate(value.type.tensor_type.shape.dim)]
        whole = np.ones(sizes, kind) if "mask" in value.name else rng.integers(3, 60, sizes).astype(kind)
        feeds[value.name] = rng.normal(size=sizes).astype(kind) if kind.kind == "f" else whole
    return feeds


def _run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


if __name__ == "__main__":
    main()
