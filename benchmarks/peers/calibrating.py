"""What the scripts of the quantizers share: the samples as runs, a model new enough, one row of JSON as the answer.

Each script is called as ``PYTHON SCRIPT MODEL RUNS.npz OUT OPTIONS`` in its tool's environment. RUNS.npz holds the
inputs of run i under ``i:INPUT``; OPTIONS is a JSON object. The answer is the last line of stdout.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Run = dict[str, np.ndarray]
Options = dict[str, Any]
Quantize = Callable[[str, list[Run], str, Options], None]


def answer(quantize: Quantize) -> None:
    """Call the tool on what the command line names, and print seconds or the reason why there is no file."""
    model, runs, out = sys.argv[1:4]
    options: Options = json.loads(sys.argv[4])
    given = load_runs(runs)
    start, cpu = time.perf_counter(), time.process_time()
    try:
        quantize(model, given, out, options)
        row: dict[str, Any] = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    except Exception as error:  # noqa: BLE001  whatever a tool throws is a row of the table
        row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    print(json.dumps(row))


def load_runs(path: str) -> list[Run]:
    """The runs in their order."""
    runs: dict[int, Run] = {}
    with np.load(path) as archive:
        for key in archive.files:
            number, name = key.split(":", 1)
            runs.setdefault(int(number), {})[name] = archive[key]
    return [runs[number] for number in sorted(runs)]


def new_enough(path: str, opset: int = 13) -> Any:
    """The model, raised to the opset that per-channel Q/DQ needs where it is older."""
    import onnx

    model = onnx.load(path)
    old = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), opset)
    return onnx.version_converter.convert_version(model, opset) if old < opset else model
