"""Prune every file of the zoo at 0.3 and 0.5, each in a process of its own, and write the page.

    python benchmarks/zoo/prune.py FOLDER [--only REGEX] [--out docs/results/pruning_zoo.md] [--again]

Rows are kept in the page's .json; a file that has its row already is left out, unless it failed or --again is given.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from page import page

RATIOS = (0.3, 0.5)
HERE = Path(__file__).parent
Row = dict[str, Any]


def main() -> None:
    given = _arguments()
    store = given.out.with_suffix(".json")
    rows: dict[str, Row] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    files = sorted(given.folder.glob("*.onnx"), key=lambda path: (path.stat().st_size, path.name))
    for path in files:
        row = rows.setdefault(path.stem, {})
        ratios = [r for r in map(str, given.ratios) if given.again or not _good(row.get(r))]
        if ratios and re.search(given.only, path.name):
            row |= _run(path, ratios, given.seconds)
            store.parent.mkdir(parents=True, exist_ok=True)
            store.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            for ratio in ratios:
                print(f"{path.stem} {ratio}: {_line(row[ratio])}", file=sys.stderr, flush=True)
    failed = given.folder / "failed.json"
    dropped = json.loads(failed.read_text(encoding="utf-8")) if failed.exists() else {}
    given.out.write_text(page({k: v for k, v in rows.items() if v}, dropped), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="regular expression that the file's name must match")
    parser.add_argument("--out", type=Path, default=Path("docs/results/pruning_zoo.md"))
    parser.add_argument("--ratios", type=lambda text: [float(t) for t in text.split(",")], default=RATIOS)
    parser.add_argument("--again", action="store_true", help="also what has a good row already")
    parser.add_argument("--seconds", type=int, default=600, help="time limit of one file")
    return parser.parse_args()


def _good(row: Row | None) -> bool:
    return row is not None and bool(row.get("exact")) and row.get("valid") == ""


def _run(path: Path, ratios: list[str], seconds: int) -> dict[str, Row]:
    command = [sys.executable, str(HERE / "prune_one.py"), str(path), ",".join(ratios)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {ratio: {"error": f"not done in {seconds} s"} for ratio in ratios}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        why = f"the process ended with {done.returncode}: {done.stderr.strip()[-200:]}"
        return {ratio: {"error": why} for ratio in ratios}
    return json.loads(lines[-1])


def _line(row: Row) -> str:
    if "error" in row:
        return f"FAILED {row['error']}"
    kept = {k: round(row[f"{k}_after"] / max(row[f"{k}_before"], 1), 3) for k in ("params", "macs")}
    return f"{kept} frozen {row['frozen']} {row['why']} zero {row['zero_test']} {row['valid']} {row['whole_s']} s"


if __name__ == "__main__":
    main()
