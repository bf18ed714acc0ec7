"""Prune one file and print what came of it as one line of JSON.

    python benchmarks/zoo/prune_one.py FILE 0.3,0.5

The pass holds its result to the original with the removed channels at zero (``--verify full``). On top of that the
file that comes out must satisfy onnx's checker with strict shape inference, and run in ONNX Runtime as it is shipped.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnxruntime as ort
from frozen import frozen_row

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.errors import CompressError
from onnxcompress.graph import in_scope
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.result import Result
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import infer, probe_feeds

Row = dict[str, Any]
OPTIONS = RuntimeOptions(threads=1)


def main() -> None:
    path, ratios = Path(sys.argv[1]), [float(text) for text in sys.argv[2].split(",")]
    try:
        normal = oc.PassManager([oc.Normalize()], allow_unchanged=True).run(str(path), runtime=OPTIONS).model
        rows = {str(ratio): _timed(normal, ratio) for ratio in ratios}
    except Exception as error:  # noqa: BLE001  a crash is a row of the table, and a defect
        rows = {str(ratio): {"error": _told(error)} for ratio in ratios}
    print(json.dumps(rows))


def _timed(normal: ir.Model, ratio: float) -> Row:
    start = time.perf_counter()
    try:
        row = _pruned(normal, ratio)
    except Exception as error:  # noqa: BLE001  see above
        row = {"error": _told(error)}
    return {**row, "whole_s": round(time.perf_counter() - start, 2)}


def _told(error: Exception) -> str:
    kind = error.code if isinstance(error, CompressError) else f"CRASH {type(error).__name__}"
    return f"{kind}: {' '.join(str(error).split())}"[:400]


def _pruned(before: ir.Model, ratio: float) -> Row:
    passes = [oc.PruneChannels(ratio=ratio)]
    result = oc.PassManager(passes, verify="full", allow_unchanged=True).run(before, runtime=OPTIONS)
    report = result.report
    row: Row = {f"{k}_{w}": getattr(report, w)[k] for k in ("params", "macs", "nodes") for w in ("before", "after")}
    row |= {"embedding_before": _embeddings(before), "embedding_after": _embeddings(result.model)}
    row |= _oracle(result) | frozen_row(before, report.passes[-1].findings)
    row |= {"prune_s": round(report.passes[-1].seconds, 2), "trace_s": _trace_seconds(before)}
    row["codes"] = dict(sorted(Counter(f.code for f in report.findings).items()))
    return {**row, "valid": _valid(result.model)}


def _oracle(result: Result) -> Row:
    """The zero test's largest difference; None where it could not compare."""
    errors = [f.numbers["error"] for f in result.report.findings if f.code == "PRUNE-EXACT"]
    return {"zero_test": max(errors, default=None), "exact": bool(errors)}


def _embeddings(model: ir.Model) -> int:
    """Weights of the tables that Gather reads, tied ones counted with them."""
    tables = {id(v): v for node in model.graph if node.op_type == "Gather" and (v := _table(node)) is not None}
    return sum(value.const_value.size for value in tables.values() if value.const_value is not None)


def _table(node: ir.Node) -> ir.Value | None:
    value = node.inputs[0]
    while value is not None and not value.is_initializer():
        maker = value.producer()
        if maker is None or maker.op_type not in ("DequantizeLinear", "Cast", "Transpose", "Identity"):
            return None
        value = maker.inputs[0]
    constant = None if value is None else value.const_value
    return value if constant is not None and len(constant.shape) == 2 and constant.size > 256 else None


def _trace_seconds(model: ir.Model) -> float:
    """The walk alone, once the shapes are known."""
    table = infer(model, runtime=OPTIONS, values=True)
    scope = in_scope(model, (), ())
    start = time.perf_counter()
    trace(model, table, RULES, scope, set())
    return round(time.perf_counter() - start, 3)


def _valid(model: ir.Model) -> str:
    """Empty where the file is good: strict shape inference, and a run with ONNX Runtime's own optimizations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.onnx"
        model_io.save(model, path)
        try:
            onnx.checker.check_model(str(path), full_check=True)
            settings = ort.SessionOptions()
            settings.intra_op_num_threads = 1
            settings.log_severity_level = 4
            session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
            session.run(None, probe_feeds(model, options=OPTIONS))
        except Exception as error:  # noqa: BLE001  the checker and the runtime have no common base
            return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return ""


if __name__ == "__main__":
    main()
