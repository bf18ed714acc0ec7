"""The quantizers of benchmarks/ptq.py: the script of each, its environment, and the settings to choose from.

A tool with several settings is judged by the one whose outputs on calibration samples are nearest to the float
model's; test data chooses nothing.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Row = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """One column of the page.

    Attributes:
        name: What the page calls it.
        script: File in benchmarks/peers.
        environment: Folder of its environment; empty for our own python.
        settings: Options to choose from.
    """

    name: str
    script: str
    environment: str = ""
    settings: tuple[Mapping[str, Any], ...] = field(default=({},))


ORT_ALL = tuple({"method": m, "heavy": h} for m in ("MinMax", "Percentile") for h in (False, True))
"""Without Entropy: `quantize_static` fixes its 128 bins, which leave the maximum as the one threshold to choose, so
that every scale is that of MinMax (compared on bccd_dwcnn: all 100 initializers equal)."""
TOOLS = (
    Tool("ours fast", "onnxcompress_one.py", settings=({"effort": "fast"},)),
    Tool("ours default", "onnxcompress_one.py"),
    Tool("ours best", "onnxcompress_one.py", settings=({"effort": "best"},)),
    Tool("ORT plain", "onnxruntime_one.py", "onnxruntime", ({"method": "MinMax"},)),
    Tool("ORT best", "onnxruntime_one.py", "onnxruntime", ORT_ALL),
    Tool("NNCF", "nncf_one.py", "nncf", ({}, {"transformer": True})),
    Tool("modelopt", "modelopt_one.py", "modelopt", ({"method": "entropy"}, {"method": "max"})),
    Tool(
        "onnxsim", "onnxsim_static_one.py", "onnxsim",
        tuple({"method": m, "full_graph": True} for m in ("minmax", "mse")),
    ),
)  # fmt: skip
PLAIN = Tool("float pass", "onnxcompress_one.py", settings=({"plain": True},))


def python_of(tool: Tool, environments: Path) -> Path:
    """The python that runs the tool's script."""
    return environments / tool.environment / "bin" / "python" if tool.environment else Path(sys.executable)


def call(
    tool: Tool, options: Mapping[str, Any], python: Path, files: tuple[Path, Path, Path], *, limit: float, memory: int
) -> Row:
    """One run of a tool in a process of its own, on one thread.

    Args:
        tool: Whose script.
        options: Its settings.
        python: The environment's python.
        files: The float model, the runs, and the file to write.
        limit: Seconds after which it counts as failed.
        memory: Bytes of address space after which it counts as failed; 0 for no cap.

    Returns:
        ``cpu_s``, ``wall_s`` and ``peak_mb`` of the process, or ``failed`` with the reason.
    """
    command = [str(python), str(HERE / "peers" / tool.script), *map(str, files), json.dumps(dict(options))]
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(threads, "1")}
    if tool.environment:
        environment.pop("PYTHONPATH", None)
    wrapped = [sys.executable, str(HERE / "peers" / "peak.py"), str(memory), *command]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(wrapped, env=environment, start_new_session=True, **pipes) as process:
        try:
            stdout, stderr = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return {"failed": f"not done in {limit:.0f} s"}
    return read_answer(stdout, stderr, process.returncode)


def read_answer(stdout: str, stderr: str, code: int) -> Row:
    """The last two lines of JSON that peak.py and the script print, as one row."""
    rows = [json.loads(line) for line in stdout.splitlines() if line.startswith("{") and line.endswith("}")]
    row: Row = {key: value for found in rows[-2:] for key, value in found.items()}
    if "cpu_s" in row or "failed" in row:
        return row
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
    return {**row, "failed": f"the process ended with {code}: {last.strip()[:160]}"}


def medians(rows: list[Row]) -> Row:
    """One row of several equal runs."""
    merged = dict(rows[0])
    for key in ("cpu_s", "wall_s", "peak_mb"):
        merged[key] = statistics.median(row[key] for row in rows)
    return merged


def rounds_for(seconds: float, most: int) -> int:
    """Runs whose median counts: 5 below 10 s, 3 below 2 minutes, else 1; never more than `most`."""
    return min(most, 5 if seconds < 10 else 3 if seconds < 120 else 1)
