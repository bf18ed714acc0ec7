"""The torch form of ONNX files: equal to ONNX Runtime, finite gradients, and nothing moved by zero steps.

    python benchmarks/bridge.py FOLDER [FOLDER ...] [--out docs/results/bridge.md] [--runs bridge.json] [--only TEXT]

Each file goes through a process of its own, on seeded inputs at its smallest legal sizes: seconds to build the torch
form, the largest difference from ONNX Runtime's outputs in units of max(1, max|y|), the share of the float elements of
the file that a gradient reaches, whether all those gradients are finite, and whether writing back untrained weights
leaves every byte of every tensor. Results are kept in RUNS; a file that is there is not run again. A file passes at a
difference below 1e-3.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress import graph, model_io
from onnxcompress.distill.bridge import Bridge, TorchGraph
from onnxcompress.distill.outputs import answer_tensors
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.errors import CompressError
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import probe_feeds

BOUND = 1e-3
_LIMIT = 600


def examine(path: Path) -> dict[str, Any]:
    """All figures of one file; `refused` where the bridge says no."""
    model = model_io.load(str(path))
    feeds = probe_feeds(model, batch=2, seed=0)
    before = _bytes(model)
    began = time.perf_counter()
    try:
        bridge = Bridge(model)
        answers = answer_tensors(model)
        module = bridge.specialise(feeds, answers)
    except CompressError as error:
        return {"refused": str(error)}
    seconds = time.perf_counter() - began
    names = [v.name or "" for v in model.graph.outputs]
    wanted = Session(model, RuntimeOptions(threads=1)).run(feeds, names)
    made = module.run(feeds)
    finite = _backward(bridge, module, made, answers)
    write_back(model, bridge, snapshot(bridge))
    difference = max((_difference(wanted[n], made[n]) for n in names if n in made), default=0.0)
    return {
        "seconds": seconds,
        "difference": difference,
        "finite": finite,
        "same": before == _bytes(model),
        **_share(bridge, model),
    }


def _backward(bridge: Bridge, module: TorchGraph, made: dict[str, torch.Tensor], answers: Iterable[str]) -> bool:
    floats = [made[n] for n in answers if made[n].is_floating_point() and made[n].requires_grad]
    if not floats:
        return False
    generator = torch.Generator().manual_seed(0)
    loss = torch.stack([(t * torch.randn(t.shape, generator=generator)).sum() for t in floats]).sum()
    loss.backward()
    return all(p.grad is None or bool(torch.isfinite(p.grad).all()) for _, p in bridge.trainable())


def _share(bridge: Bridge, model: ir.Model) -> dict[str, float]:
    reached = sum(p.numel() for _, p in bridge.trainable() if p.grad is not None)
    floats = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
    total = sum(t.size for t in _tensors(model) if t.dtype in floats)
    return {"reached": reached, "floats": total}


def _tensors(model: ir.Model) -> Iterable[ir.TensorProtocol]:
    for scope in graph.scopes(model):
        yield from (v.const_value for v in scope.initializers.values() if v.const_value is not None)
        for node in scope:
            yield from (t for out in node.outputs if (t := graph.tensor_of(out)) is not None)


def _bytes(model: ir.Model) -> list[tuple[str, bytes]]:
    return [(str(t.dtype), t.tobytes()) for t in _tensors(model)] + [
        (n.op_type, (n.name or "").encode()) for n in graph.iter_nodes(model)
    ]


def _difference(wanted: np.ndarray, made: torch.Tensor) -> float:
    got = made.detach().numpy()
    if got.shape != wanted.shape:
        return float("inf")
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    return float(np.abs(a - b).max(initial=0.0) / max(1.0, np.abs(a).max(initial=0.0)))


def _in_a_process(path: Path) -> dict[str, Any]:
    try:
        done = subprocess.run(
            (sys.executable, __file__, "--one", str(path)), capture_output=True, text=True, timeout=_LIMIT
        )
    except subprocess.TimeoutExpired:
        return {"fault": f"longer than {_LIMIT} s"}
    if done.returncode:
        return {"fault": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def good(row: dict[str, Any]) -> bool:
    """True where the file is equal, differentiable, and left alone by zero steps."""
    return row.get("difference", np.inf) < BOUND and row["finite"] and row["same"]


def _page(runs: dict[str, dict[str, Any]]) -> str:
    fine = [r for r in runs.values() if good(r)]
    times = [r["seconds"] for r in runs.values() if "seconds" in r]
    head = f"# The torch form of real files\n\n{(__doc__ or '').strip()}\n"
    told = (
        f"{len(fine)} of {len(runs)} files pass; built in {median(times):.2f} s (median), {max(times):.1f} s at most.\n"
    )
    lines = [
        "| file | build, s | difference | elements reached | gradients finite | bytes kept |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in sorted(runs.items()):
        if "seconds" not in row:
            lines.append(f"| {name} | {row.get('refused') or row.get('fault')} | | | | |")
            continue
        reached = 100 * row["reached"] / max(1, row["floats"])
        yes = {True: "yes", False: "**no**"}
        told_row = f"{row['seconds']:.2f} | {row['difference']:.1e} | {reached:.1f} %"
        lines.append(f"| {name} | {told_row} | {yes[row['finite']]} | {yes[row['same']]} |")
    return "\n".join([head, told, *lines]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", default="", help="files with this in their name")
    parser.add_argument("--runs", type=Path, default=Path("bridge.json"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(1)
        print(json.dumps(examine(given.one)))
        return
    runs: dict[str, dict[str, Any]] = json.loads(given.runs.read_text()) if given.runs.exists() else {}
    for path in sorted(p for folder in given.folders for p in folder.glob("*.onnx") if given.only in p.name):
        if path.name not in runs or not good(runs[path.name]):
            runs[path.name] = _in_a_process(path)
            given.runs.write_text(json.dumps(runs, indent=1))
            if not good(runs[path.name]):
                print(path.name, runs[path.name], flush=True)
    print(f"{sum(map(good, runs.values()))} of {len(runs)} pass")
    if given.out:
        given.out.write_text(_page(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
