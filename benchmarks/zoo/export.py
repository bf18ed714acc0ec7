"""Write the architectures of the zoo as ONNX files, by both of torch's exporters.

    PYTHONPATH=tests python benchmarks/zoo/export.py FOLDER [--only REGEX] [--exporter legacy|dynamo]

Needs torch, onnxscript, pytorchcv and transformers (see CONTRIBUTING). What is in FOLDER already is not made again;
FOLDER/failed.json says what could not be exported, and why. FOLDER/inputs has the example inputs of each file, since
some take no others (a mixture of experts whose routes were written down).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builders.torch_export import Net, built, export
from builders.torch_sequence_nets import sequence_nets
from builders.torch_variants import variants
from builders.torch_vision_nets import vision_nets
from cnns import cnns
from transformer_nets import transformer_nets

SECONDS = 240
"""For one export."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="regular expression that the name must match")
    parser.add_argument("--exporter", choices=("legacy", "dynamo"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for net in [*vision_nets(), *sequence_nets(), *variants(), *transformer_nets(), *cnns()]:
        for exporter in net.exporters:
            path = given.folder / f"{net.name}.{exporter}.onnx"
            if re.search(given.only, path.name) and given.exporter in (None, exporter) and not path.exists():
                _told(given.folder / "failed.json", path.stem, _export_apart(net, exporter, path))


def _export_apart(net: Net, exporter: str, path: Path) -> str:
    """In a process of its own, which may hang or die; returns why it failed, or nothing."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.SimpleQueue()
    process = context.Process(target=_child, args=(net, exporter, path, queue))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        return f"not done in {SECONDS} s"
    return queue.get() if not queue.empty() else f"the process ended with {process.exitcode}"


def _child(net: Net, exporter: str, path: Path, queue: Any) -> None:
    warnings.simplefilter("ignore")
    try:
        export(net, exporter, path)
        _keep_inputs(net, path)
    except BaseException as error:  # noqa: BLE001  whatever an exporter throws is a row of the table
        path.unlink(missing_ok=True)
        queue.put(f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}")
    else:
        queue.put("")


def _keep_inputs(net: Net, path: Path) -> None:
    folder = path.parent / "inputs"
    folder.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in built(net)[1].items()}
    np.savez(folder / f"{path.stem}.npz", **arrays)


def _told(store: Path, name: str, why: str) -> None:
    rows = json.loads(store.read_text()) if store.exists() else {}
    rows = {key: value for key, value in rows.items() if key != name} | ({name: why} if why else {})
    store.write_text(json.dumps(rows, indent=1, sort_keys=True))
    print(f"{time.strftime('%H:%M:%S')} {name}: {why or 'written'}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
