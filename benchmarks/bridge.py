"""The torch form of ONNX files: equal to ONNX Runtime, finite gradients, and nothing moved by zero steps.

    python benchmarks/bridge.py FOLDER [FOLDER ...] [--work out/bridge] [--only TEXT] [--again]
        [--out docs/results/bridge.md]

Each file goes through a process of its own, on seeded inputs at its smallest legal sizes (FOLDER/inputs/NAME.npz where
no others are accepted): processor seconds of one thread to build the torch form, the largest difference from ONNX
Runtime's outputs in units of max(1, max|y|), the share of the elements of the file's numbers (floats, and integers
behind DequantizeLinear) that a gradient reaches as weights, whether all those gradients are finite, and whether
writing back untrained weights leaves every byte of every tensor and every node. A file passes at a difference below
1e-3. Files with Q/DQ nodes are compared with ONNX Runtime without its graph optimizations, which round otherwise than
the file says; a number that lies between two steps of a grid falls to either side by the order of a sum, so that such a
file also passes where it is no further off than ONNX Runtime with optimizations is from itself without.

Results are kept in WORK/runs.json, and a file that passed is not run again. WORK/runs has the inputs and ONNX
Runtime's outputs; `bridge_peers.py` puts other converters through the same, and the page has a table of both.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from bridge_page import page

from onnxcompress import graph, model_io
from onnxcompress.distill.bridge import Bridge, TorchGraph
from onnxcompress.distill.outputs import answer_tensors
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.weights import Weight, stored
from onnxcompress.distill.write_back import write_back
from onnxcompress.errors import CompressError, ModelError
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import probe_feeds

BOUND = 1e-3
_LIMIT = 600
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
Row = dict[str, Any]


def examine(path: Path, kept: Path) -> Row:
    """All figures of one file; `refused` where the bridge says no. What was asked and answered is left in `kept`."""
    model = model_io.load(str(path))
    feeds = _feeds(model, path)
    names = [v.name or "" for v in model.graph.outputs]
    wanted = Session(model, RuntimeOptions(threads=1), optimize=not _quantized(model)).run(feeds, names)
    _keep(kept, feeds, wanted)
    before = _bytes(model)
    began = time.process_time()
    try:
        bridge = Bridge(model, scales=True)
        answers = answer_tensors(model)
        module = bridge.specialise(feeds, answers)
    except CompressError as error:
        return {"refused": str(error), "floats": _elements(model, ())}
    seconds = time.process_time() - began
    made = module.run(feeds)
    finite = _backward(bridge, module, made, answers)
    write_back(model, bridge, snapshot(bridge))
    difference = max((_difference(wanted[n], made[n]) for n in names if n in made), default=0.0)
    reached = sum(p.numel() for w, p in bridge.trainable() if p.grad is not None and w.role != "scale")
    same, whole = before == _bytes(model), _elements(model, bridge.weights)
    return {
        "seconds": seconds,
        "difference": difference,
        "finite": finite,
        "same": same,
        "reached": reached,
        "floats": whole,
        "spread": _spread(model, feeds, wanted) if _quantized(model) else 0.0,
    }


def _feeds(model: ir.Model, path: Path) -> dict[str, np.ndarray]:
    """Seeded inputs, or those that the file was exported with.

    Raises:
        ModelError: Where the model accepts no seeded ones and there are no others.
    """
    try:
        return probe_feeds(model, batch=2, seed=0)
    except ModelError:
        example = path.parent / "inputs" / f"{path.stem}.npz"
        if not example.exists():
            raise
        return dict(np.load(example))


def _quantized(model: ir.Model) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in graph.iter_nodes(model))


def _spread(model: ir.Model, feeds: dict[str, np.ndarray], plain: dict[str, np.ndarray]) -> float:
    """How far ONNX Runtime's optimizations take it from itself."""
    own = Session(model, RuntimeOptions(threads=1)).run(feeds, list(plain))
    return max((_difference(plain[n], torch.from_numpy(own[n])) for n in plain), default=0.0)


def _keep(kept: Path, feeds: dict[str, np.ndarray], wanted: dict[str, Any]) -> None:
    """By position, which is all that other converters know; sequences and maps are left out."""
    arrays: dict[str, Any] = {f"in{i}": array for i, array in enumerate(feeds.values())}
    arrays |= {f"out{i}": a for i, a in enumerate(wanted.values()) if isinstance(a, np.ndarray)}
    np.savez(kept, **arrays)


def _backward(bridge: Bridge, module: TorchGraph, made: dict[str, torch.Tensor], answers: Iterable[str]) -> bool:
    floats = [made[n] for n in answers if made[n].is_floating_point() and made[n].requires_grad]
    if not floats:
        return False
    generator = torch.Generator().manual_seed(0)
    loss = torch.stack([(t * torch.randn(t.shape, generator=generator)).sum() for t in floats]).sum()
    loss.backward()
    return all(p.grad is None or bool(torch.isfinite(p.grad).all()) for _, p in bridge.trainable())


def _elements(model: ir.Model, weights: Iterable[Weight]) -> int:
    """Elements of all floats of the file, and of integers that stand for some: behind DequantizeLinear, or weights."""
    coded = {id(stored(w.value)) for w in weights if w.grid is not None}
    coded |= {id(stored(n.inputs[0])) for n in graph.iter_nodes(model) if n.op_type == "DequantizeLinear"}
    return sum(t.size for t in _tensors(model) if t.dtype in _FLOATS or id(t) in coded)


def _tensors(model: ir.Model) -> Iterable[ir.TensorProtocol]:
    for scope in graph.scopes(model):
        constants = scope.initializers.values() if isinstance(scope, ir.Graph) else ()
        yield from (v.const_value for v in constants if v.const_value is not None)
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


def _apart(work: Callable[[], Row], seconds: float) -> Row:
    """What `work` returns, from a process of its own, which may hang or die."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.SimpleQueue()
    process = context.Process(target=_told, args=(work, queue))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        return {"fault": f"not done in {seconds:.0f} s"}
    return queue.get() if not queue.empty() else {"fault": f"the process ended with {process.exitcode}"}


def _told(work: Callable[[], Row], queue: Any) -> None:
    try:
        row = work()
    except Exception as error:  # noqa: BLE001  whatever goes wrong is a row of the table
        row = {"fault": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    queue.put(row)


def good(row: Row) -> bool:
    """True where the file is equal, differentiable, and left alone by zero steps."""
    return row.get("difference", np.inf) < max(BOUND, row.get("spread", 0.0)) and row["finite"] and row["same"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", default="", help="files with this in their name")
    parser.add_argument("--again", action="store_true", help="also files that passed before")
    parser.add_argument("--work", type=Path, default=Path("out/bridge"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    (given.work / "runs").mkdir(parents=True, exist_ok=True)
    store = given.work / "runs.json"
    runs: dict[str, Row] = json.loads(store.read_text()) if store.exists() else {}
    for path in sorted(p for folder in given.folders for p in folder.glob("*.onnx") if given.only in p.name):
        if given.again or not good(runs.get(path.name, {})):
            kept = given.work / "runs" / f"{path.name}.npz"
            runs[path.name] = _apart(partial(examine, path, kept), _LIMIT)
            store.write_text(json.dumps(runs, indent=1))
            print("" if good(runs[path.name]) else "NOT GOOD ", path.name, runs[path.name], sep="", flush=True)
    print(f"{sum(map(good, runs.values()))} of {len(runs)} pass")
    if given.out:
        peers = given.work / "peers.json"
        told = page(__doc__ or "", runs, json.loads(peers.read_text()) if peers.exists() else {}, good)
        given.out.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
