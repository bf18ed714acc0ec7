"""Torch-Pruning and onnxsim on the zoo's networks, beside what onnxcompress makes of them.

    python benchmarks/prune_peers.py FOLDER [--only REGEX] [--out docs/results/prune_peers.md]

Each peer runs in an environment of its own: ONNXCOMPRESS_TORCH_PRUNING names the python of the zoo's environment
(.venv-zoo/bin/python, which `make zoo-export` makes), ONNXCOMPRESS_ONNXSIM that of one with onnxsim and onnxruntime. A
peer that is absent is left out. FOLDER holds the zoo's files; our own figures come from docs/results/pruning_zoo.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RATIO, SECONDS, EXACT = "0.5", 180, 1e-4
PEERS = {"Torch-Pruning": "ONNXCOMPRESS_TORCH_PRUNING", "onnxsim": "ONNXCOMPRESS_ONNXSIM"}
Row = dict[str, Any]

_TEXT = """# Beside Torch-Pruning and onnxsim

Written by `python benchmarks/prune_peers.py FOLDER`: half of the channels go, by L2 norms, the same fraction
everywhere, on the files of [the zoo](pruning_zoo.md). Torch-Pruning 1.6.1 has the modules that they were exported
from, one step, and leaves alone the layers that make an output; onnxsim 0.8.1 has `apply_structured_pruning`; one
thread, each in an environment of its own. Two figures a cell: parameters kept, and the largest difference from the
original with the removed channels at zero. Statistics over removed channels (LayerNorm) are masked in our reference
and not in theirs, so there their difference is no mistake. exact: a difference of at most 1e-4, and at least a
tenth of the parameters gone. s: the peer's pruning alone; ours is the command with all its checks.
"""


def main() -> None:
    given = _arguments()
    store = given.out.with_suffix(".json")
    rows: dict[str, dict[str, Row]] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    for path in sorted(given.folder.glob("*.legacy.onnx"), key=lambda p: (p.stat().st_size, p.name)):
        name = path.name.split(".")[0]
        if not re.search(given.only, name):
            continue
        for peer, variable in PEERS.items():
            python = os.environ.get(variable)
            if python and (given.again or peer not in rows.get(name, {})):
                rows.setdefault(name, {})[peer] = _run(peer, python, path)
                store.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
                print(f"{name} {peer}: {rows[name][peer]}", file=sys.stderr, flush=True)
    ours = json.loads(given.ours.read_text(encoding="utf-8"))
    given.out.write_text(_page(rows, ours), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="regular expression that the network's name must match")
    parser.add_argument("--out", type=Path, default=Path("docs/results/prune_peers.md"))
    parser.add_argument("--ours", type=Path, default=Path("docs/results/pruning_zoo.json"))
    parser.add_argument("--again", action="store_true", help="also what has a row already")
    given = parser.parse_args()
    for peer, variable in PEERS.items():
        if not os.environ.get(variable):
            print(f"{peer}: left out, {variable} names no python", file=sys.stderr)
    return given


def _run(peer: str, python: str, path: Path) -> Row:
    script, argument = ("onnxsim_one.py", str(path))
    if peer == "Torch-Pruning":
        script, argument = "torch_pruning_one.py", path.name.split(".")[0]
    folders = os.pathsep.join([str(HERE.parent / "tests"), str(HERE / "zoo")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": folders}
    command = [python, str(HERE / "peers" / script), argument, RATIO]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in {SECONDS} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {"failed": f"the process ended with {done.returncode}"}


def _ours(name: str, zoo: Mapping[str, Any]) -> Row:
    row = zoo.get(f"{name}.legacy", {}).get(RATIO, {})
    if not row.get("exact") or row.get("valid"):
        return {"failed": row.get("error") or row.get("valid") or "not run"}
    return {
        "kept": row["params_after"] / max(row["params_before"], 1), "error": row["zero_test"], "s": row["whole_s"]
    }  # fmt: skip


def _page(rows: Mapping[str, Mapping[str, Row]], zoo: Mapping[str, Any]) -> str:
    columns = ["onnxcompress", *PEERS]
    table = {name: {"onnxcompress": _ours(name, zoo), **found} for name, found in sorted(rows.items())}
    lines = [
        _TEXT,
        "| | runs | exact | median kept of all (a failure keeps 100 %) | median s |",
        "|---|---|---|---|---|",
    ]
    lines += [_summary(column, [found[column] for found in table.values() if column in found]) for column in columns]
    lines += ["", f"| network | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_cell(found.get(c)) for c in columns)} |" for name, found in table.items()]
    return "\n".join(lines) + "\n"


def _summary(column: str, rows: list[Row]) -> str:
    ran = [row for row in rows if "failed" not in row]
    exact = [row for row in ran if row["error"] <= EXACT and row["kept"] <= 0.9]
    kept = statistics.median([row.get("kept", 1.0) for row in rows] or [1.0])
    seconds = statistics.median([row["s"] for row in ran] or [0.0])
    return f"| {column} | {len(ran)} of {len(rows)} | {len(exact)} | {100 * kept:.1f} % | {seconds:.2f} |"


def _cell(row: Row | None) -> str:
    if row is None:
        return "not run"
    return f"failed: {row['failed'][:70]}" if "failed" in row else f"{100 * row['kept']:.1f} %, {row['error']:.0e}"


if __name__ == "__main__":
    main()
