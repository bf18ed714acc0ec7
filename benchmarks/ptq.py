"""Post-training quantization: ours beside onnxruntime, NNCF, nvidia-modelopt and onnxsim, on the same models and data.

    ONNXCOMPRESS_TEST_DATA=FOLDER [ONNXCOMPRESS_BENCH=FOLDER] python benchmarks/ptq.py --envs FOLDER [NAME ...]

FOLDER of `--envs` holds one environment a tool (onnxruntime, nncf, modelopt, onnxsim, openvino; `make ptq` makes
them); a tool whose environment is absent is left out. Every tool gets the same calibration samples, one process, one
thread. Rows go into the page's .json as they come; a row that is there is kept unless `--again TOOL` names it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import measures
import numpy as np
import scores
from cases import Case, case, names
from ptq_page import page
from ptq_tools import HERE, PLAIN, TOOLS, Row, Tool, call, medians, python_of, rounds_for

from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.errors import CompressError
from onnxcompress.runtime import batch_for, feeds_of, latency
from onnxcompress.runtime.dump import optimized_model
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)
HEAVY_INTEGER = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
                 "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits", "QAttention")  # fmt: skip
HEAVY_FLOAT = (
    "Conv",
    "FusedConv",
    "MatMul",
    "FusedMatMul",
    "Gemm",
    "FusedGemm",
    "ConvTranspose",
    "LSTM",
    "GRU",
    "Attention",
)


def main() -> None:
    given = _arguments()
    store = given.out.with_suffix(".json")
    rows: dict[str, dict[str, Row]] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    for name in given.names or names():
        with tempfile.TemporaryDirectory(prefix="ptq-") as scratch:
            bench = Bench(cut_case(name, given), given, given.work or Path(scratch))
            for tool, row in bench.rows(rows.setdefault(name, {})):
                rows[name][tool] = row
                store.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
                print(f"{name:24} {tool:14} {json.dumps(row)}", file=sys.stderr, flush=True)
    given.out.write_text(page(rows, given.note), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models (see scores.py --list); all by default")
    parser.add_argument("--envs", type=Path, required=True, help="folder with one environment a tool")
    parser.add_argument("--out", type=Path, default=Path("docs/results/quantization.md"))
    parser.add_argument("--tools", default="", help="only these, comma-separated")
    parser.add_argument("--again", default="", help="tools whose rows are made anew; 'all' for every one")
    parser.add_argument("--calibration", type=int, default=128, help="samples that each tool may calibrate on")
    parser.add_argument("--test", type=int, help="about so many test samples; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="most runs of a tool whose median counts")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a tool has failed")
    parser.add_argument("--memory", type=float, default=0, help="GB of address space that a tool may take; 0: no cap")
    parser.add_argument("--note", default="", help="sentence for the page: how its rows came about")
    parser.add_argument("--work", type=Path, help="keep the quantized files in this folder")
    return parser.parse_args()


def cut_case(name: str, given: argparse.Namespace) -> Case:
    """The case with at most `--calibration` samples and about `--test` test samples."""
    return scores.cut(case(name, calibration=given.calibration), given.test)


class Bench:
    """All tools on one model."""

    def __init__(self, of: Case, given: argparse.Namespace, work: Path) -> None:
        self.case, self.given, self.work = of, given, work / of.name
        self.work.mkdir(parents=True, exist_ok=True)
        self.runs = self.work / "runs.npz"
        self.model = model_io.load(str(of.path))
        source = ArraySource(of.calibration)
        feeds = [run.arrays for run in feeds_of(self.model, source, batch=1)]
        np.savez(self.runs, **{f"{i}:{k}": v for i, run in enumerate(feeds) for k, v in run.items()})
        self.reference = scores.rows(of.path, of)
        near = {key: array[:32] for key, array in of.calibration.items()}
        self.near = Case(of.name, of.path, near, near, None, measures.SQNR)
        self.near_reference = scores.rows(of.path, self.near)

    def rows(self, known: Mapping[str, Row]) -> Iterator[tuple[str, Row]]:
        """A row a tool as it comes, then all times."""
        again = self.given.again.split(",")
        wanted = {t.name for t in TOOLS} if not self.given.tools else set(self.given.tools.split(","))
        float_row = self._run(PLAIN, PLAIN.settings[0], self.work / "none.onnx")
        float_row = medians([float_row, *self._again(PLAIN, PLAIN.settings[0], float_row, self.work / "none.onnx")])
        yield "float", {**float_row, "bytes": self.case.path.stat().st_size, "score": self._score(self.case.path)}
        for tool in TOOLS:
            python = python_of(tool, self.given.envs)
            keep = tool.name in known and not {"all", tool.name} & set(again)
            if tool.name in wanted and python.exists() and not (keep and self._file(tool).exists()):
                yield tool.name, self._tool(tool, float_row)
        files = {t.name: self._file(t) for t in TOOLS if self._file(t).exists()}
        yield "times", {"ort": self._ort_times(files), "openvino": self._openvino(files)}

    def _file(self, tool: Tool) -> Path:
        return self.work / f"{tool.name.replace(' ', '_')}.onnx"

    def _tool(self, tool: Tool, plain: Row) -> Row:
        """The nearest of the tool's settings on calibration samples, with all its figures."""
        tried: list[tuple[float, Mapping[str, object], Row, Path]] = []
        failures: list[str] = []
        for number, options in enumerate(tool.settings):
            out = self.work / f"{self._file(tool).stem}.{number}.onnx"
            row = self._run(tool, options, out)
            nearness = self._nearness(out) if "failed" not in row else "not run"
            if isinstance(nearness, str):
                failures.append(str(row.get("failed", nearness)))
            else:
                tried.append((nearness, options, row, out))
        if not tried:
            return {"failed": failures[0]}
        nearness, options, row, out = max(tried, key=lambda one: one[0])
        row = medians([row, *self._again(tool, options, row, out)])
        out.replace(self._file(tool))
        told = {"options": dict(options), "sqnr_calibration": nearness, "tried": len(tool.settings)}
        passes = row["cpu_s"] / max(plain.get("cpu_s", 0.0), 1e-9)
        return {**row, **told, "passes": passes, **self._figures(self._file(tool)), "failures": failures}

    def _again(self, tool: Tool, options: Mapping[str, object], first: Row, out: Path) -> Iterator[Row]:
        """Further runs of the same, as many as its seconds ask for."""
        for _ in range(rounds_for(first["cpu_s"], self.given.rounds) - 1):
            row = self._run(tool, options, out)
            if "failed" not in row:
                yield row

    def _run(self, tool: Tool, options: Mapping[str, object], out: Path) -> Row:
        files = (self.case.path, self.runs, out)
        common = {"limit": self.given.limit, "memory": int(self.given.memory * 2**30)}
        return call(tool, options, python_of(tool, self.given.envs), files, **common)

    def _nearness(self, file: Path) -> float | str:
        """SQNR on calibration samples; the reason where ONNX Runtime does not run the file."""
        try:
            return scores.sqnr(self.near_reference, scores.rows(file, self.near))
        except Exception as error:  # noqa: BLE001  a file that does not run is a finding about its tool
            return f"ONNX Runtime does not run its file: {' '.join(str(error).split())[:160]}"

    def _score(self, file: Path) -> Row:
        return asdict(scores.score(file, self.case, self.reference))

    def _figures(self, file: Path) -> Row:
        return {"score": self._score(file), "bytes": file.stat().st_size, "kernels": kernels(file)}

    def _ort_times(self, files: Mapping[str, Path]) -> Row:
        models = {"float": self.model, **{name: model_io.load(str(path)) for name, path in files.items()}}
        try:
            found = latency(models, self._feeds(), options=ONE, rounds=15)
        except CompressError as error:
            return {"failed": str(error)[:160]}
        return {**found.to_dict(), "load": round(os.getloadavg()[0], 1)}

    def _feeds(self) -> dict[str, np.ndarray]:
        one = next(iter(feeds_of(self.model, ArraySource({k: v[:1] for k, v in self.case.test.items()}))))
        return batch_for(self.model, one.arrays, options=ONE)

    def _openvino(self, files: Mapping[str, Path]) -> Row:
        python = self.given.envs / "openvino" / "bin" / "python"
        if not python.exists():
            return {}
        run = self.work / "run.npz"
        np.savez(run, **{f"0:{k}": v for k, v in self._feeds().items()})
        paths = {"float": self.case.path, **files}
        command = [str(python), str(HERE / "peers" / "openvino_latency.py"), str(run), *map(str, paths.values())]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found = json.loads(lines[-1]) if lines else {}
        return {name: found.get(str(path), {"failed": done.stderr[-160:]}) for name, path in paths.items()}


def kernels(file: Path) -> Row:
    """Convolutions and products that ONNX Runtime computes on integers and in float, after its own fusions."""
    try:
        nodes = list(optimized_model(model_io.load(str(file)), ONE).graph)
    except CompressError as error:
        return {"failed": str(error)[:160]}
    kinds = [node.op_type for node in nodes]
    return {"integer": sum(k in HEAVY_INTEGER for k in kinds), "float": sum(k in HEAVY_FLOAT for k in kinds)}


if __name__ == "__main__":
    main()
