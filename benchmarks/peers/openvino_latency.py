"""Times of several files in OpenVINO, interleaved, one thread, and how many layers it runs on integers.

    PYTHON openvino_latency.py RUNS.npz FLOAT.onnx FILE.onnx ...

Prints one JSON object by file: ms, ratio (the float file's time over this one's, median over rounds), spread (of two
compilations of the float file), integer and float counts of its convolutions and products by their real precision.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import openvino as ov
from calibrating import Run, load_runs

HEAVY = {"Convolution", "GroupConvolution", "MatMul", "FullyConnected", "Deconvolution"}
ROUNDS = 15


def main() -> None:
    run, files = load_runs(sys.argv[1])[0], sys.argv[2:]
    core, rows = ov.Core(), {}
    core.set_property({"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
    requests: dict[str, Any] = {}
    for file in files:
        try:
            compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            requests[file] = compiled.create_infer_request()
            requests[file].infer(run)
            rows[file] = _layers(compiled)
        except Exception as error:  # noqa: BLE001  a file that OpenVINO refuses is a row of the table
            requests.pop(file, None)
            rows[file] = {"failed": " ".join(str(error).split())[-160:]}
    if files[0] in requests:
        again = core.compile_model(core.read_model(files[0]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        _time(rows, {**requests, "again": again.create_infer_request()}, run, files[0])
    print(json.dumps(rows))


def _layers(compiled: Any) -> dict[str, Any]:
    kinds: dict[str, int] = {"integer": 0, "float": 0}
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = node.get_rt_info()
        if told["layerType"].astype(str) in HEAVY:
            kinds["integer" if told["runtimePrecision"].astype(str) in ("i8", "u8") else "float"] += 1
    return kinds


def _time(rows: dict[str, Any], requests: dict[str, Any], run: Run, first: str) -> None:
    names, times = list(requests), {name: [] for name in requests}
    for number in range(ROUNDS + 3):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            start = time.perf_counter()
            requests[name].infer(run)
            if number >= 3:
                times[name].append(time.perf_counter() - start)
    for name in names:
        ratio = statistics.median(a / b for a, b in zip(times[first], times[name], strict=True))
        rows.setdefault(name, {}).update(ms=1e3 * statistics.median(times[name]), ratio=ratio)
    rows[first]["spread"] = abs(rows.pop("again")["ratio"] - 1)


if __name__ == "__main__":
    main()
