"""Other converters from ONNX to torch, on the files that `bridge.py` ran: do they convert, equal ONNX Runtime, learn?

    VENV/bin/python benchmarks/bridge_peers.py FOLDER [FOLDER ...] [--work out/bridge] [--only TEXT]

VENV has torch, onnx, and, without their dependencies, onnx2torch and onnx2pytorch. Both import torchvision at once,
of which no build fits every torch; an empty one stands in here, so that only the operators that need it fail.
Inputs and ONNX Runtime's outputs come from `bridge.py`'s WORK/runs. Each file and tool has a process of its own.
Results are kept in WORK/peers.json, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.machinery
import json
import multiprocessing
import sys
import time
import types
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

TOOLS = ("onnx2torch", "onnx2pytorch")
_LIMIT = 300
Row = dict[str, Any]


class _Missing(types.ModuleType):
    """A module whose every name is a function that fails when it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _fail


def _fail(*_: Any, **__: Any) -> Any:
    raise ImportError("this operator needs torchvision")


def stub_torchvision() -> None:
    """Put empty modules where the tools import torchvision."""
    for name in ("torchvision", "torchvision.ops", "torchvision.io"):
        module = _Missing(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__path__ = []
        sys.modules[name] = module
    sys.modules["torchvision"].ops = sys.modules["torchvision.ops"]  # type: ignore[attr-defined]


def converted(tool: str, path: Path) -> torch.nn.Module:
    """The module that a tool makes, with its weights ready to learn and its norms as in inference."""
    if tool == "onnx2torch":
        return importlib.import_module(tool).convert(str(path)).eval()
    return importlib.import_module(tool).ConvertModel(onnx.load(str(path))).eval()


def examine(tool: str, path: Path, kept: Path) -> Row:
    """Seconds, difference, finiteness and elements reached, as in `bridge.py`; `stage` tells how far it came."""
    row: Row = {"stage": "convert"}
    arrays = dict(np.load(kept))
    began = time.process_time()
    try:
        module = converted(tool, path)
        row |= {"stage": "run", "seconds": time.process_time() - began}
        made = module(*[torch.from_numpy(arrays[f"in{i}"]) for i in range(_count(arrays, "in"))])
        outputs = list(made) if isinstance(made, (list, tuple)) else [made]
        row |= {"stage": "backward", "difference": _difference(arrays, outputs)}
        row |= {"finite": _backward(module, outputs), "reached": _reached(module), "stage": ""}
    except Exception as error:  # noqa: BLE001  whatever a tool throws is a row of the table
        row["fault"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return row


def _count(arrays: dict[str, np.ndarray], kind: str) -> int:
    return sum(name.startswith(kind) for name in arrays)


def _difference(arrays: dict[str, np.ndarray], outputs: list[torch.Tensor]) -> float:
    """In units of max(1, max|y|); infinite where shapes or NaN differ."""
    worst = 0.0
    for name, wanted in arrays.items():
        if not name.startswith("out"):
            continue
        a, b = wanted.astype(np.float64), outputs[int(name[3:])].detach().numpy().astype(np.float64)
        if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
            return float("inf")
        a, b = np.nan_to_num(a), np.nan_to_num(b)
        worst = max(worst, float(np.abs(a - b).max(initial=0.0) / max(1.0, np.abs(a).max(initial=0.0))))
    return worst


def _backward(module: torch.nn.Module, outputs: Iterable[torch.Tensor]) -> bool:
    floats = [t for t in outputs if t.is_floating_point() and t.requires_grad]
    if not floats:
        return False
    draw = torch.Generator().manual_seed(0)
    torch.stack([(t * torch.randn(t.shape, generator=draw)).sum() for t in floats]).sum().backward()
    return all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in module.parameters())


def _reached(module: torch.nn.Module) -> int:
    """Elements that a gradient reaches; numbers that are stored twice count once each time they are a Parameter."""
    return sum(p.numel() for p in module.parameters() if p.grad is not None)


def _child(tool: str, path: Path, kept: Path, queue: Any) -> None:
    warnings.simplefilter("ignore")
    queue.put(examine(tool, path, kept))


def apart(tool: str, path: Path, kept: Path) -> Row:
    """`examine` in a process of its own, which may hang or die."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.SimpleQueue()
    process = context.Process(target=_child, args=(tool, path, kept, queue))
    process.start()
    process.join(_LIMIT)
    if process.is_alive():
        process.kill()
        return {"stage": "time", "fault": f"not done in {_LIMIT} s"}
    return queue.get() if not queue.empty() else {"stage": "died", "fault": f"ended with {process.exitcode}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--only", default="", help="files with this in their name")
    parser.add_argument("--work", type=Path, default=Path("out/bridge"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    stub_torchvision()
    for tool in TOOLS:
        importlib.import_module(tool)
    store = given.work / "peers.json"
    rows: dict[str, dict[str, Row]] = json.loads(store.read_text()) if store.exists() else {}
    for path in sorted(p for folder in given.folders for p in folder.glob("*.onnx") if given.only in p.name):
        kept = given.work / "runs" / f"{path.name}.npz"
        for tool in TOOLS:
            done = rows.setdefault(tool, {})
            if kept.exists() and path.name not in done:
                done[path.name] = apart(tool, path, kept)
                store.write_text(json.dumps(rows, indent=1))
                print(tool, path.name, done[path.name], flush=True)


if __name__ == "__main__":
    main()
