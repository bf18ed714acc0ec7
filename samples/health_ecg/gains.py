"""The table of docs/health.md, from what both health samples measured: `python -m samples.health_ecg.gains`."""

from __future__ import annotations

import json
from statistics import mean

from samples.sheet import RESULTS, ROOT, Column

PAGE = ROOT / "docs" / "health.md"
BEGIN, END = "<!-- gains: begin -->", "<!-- gains: end -->"
SHOWN = {
    "health_ecg": ("heart beats", ("float", "recipe, a quarter of the multiply-adds")),
    "health_risk": ("tumour table", ("float", "recipe, a quarter of the multiply-adds")),
}
COLUMNS = (
    Column("kB", "kB", ".1f"),
    Column("MB", "MB of the process", ".1f"),
    Column("ms", "ms a sample", ".3f"),
    Column("batch_faster", "faster in batches", ".1f"),
    Column("sensitivity", "sensitivity %", ".2f"),
    Column("ece", "ECE %", ".2f"),
)


def rows(name: str) -> list[list[str]]:
    """Float and compressed, means over the runs; none where the sample was not measured."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return []
    called, labels = SHOWN[name]
    known = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [[f"{called}: {label}", *(_cell(c, known[label]) for c in COLUMNS)] for label in labels]


def _cell(column: Column, runs: dict[str, dict[str, float | None]]) -> str:
    values = [run[column.key] for run in runs.values()]
    there = [value for value in values if value is not None]
    return format(mean(there), column.form) if there else "-"


def write() -> None:
    head = ["model", *(column.heading for column in COLUMNS)]
    lines = [head, ["---"] * len(head), *(row for name in SHOWN for row in rows(name))]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    write()
