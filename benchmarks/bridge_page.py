"""The page of `bridge.py`: counts, what does not pass and why, other converters, and one line a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

Row = dict[str, Any]
Rows = Mapping[str, Row]

BOUND = 1e-3
_TRANSFORMERS = re.compile(
    "bert|gpt|llama|mistral|qwen|gemma|phi|mixtral|opt_lm|bloom|mamba|t5_|vit|deit|beit|dino|clip|siglip|swin|segformer"
    "|pvt|whisper|wav2vec|audio_spec|dpt|mlp_mixer|attention|transformer"
)
_SOURCES = ("legacy", "dynamo", "quantized", "others")
_TOLD = {
    "legacy": "zoo, torch's older exporter",
    "dynamo": "zoo, torch's newer exporter",
    "quantized": "zoo, with Q/DQ nodes",
    "others": "files of other projects, trained",
}


_PEERS_TEXT = """\
Converts: makes a module that runs. Equal: within 1e-3. Learns: equal, and gradients are there and finite. Share: of the
file's numbers, those that a gradient reaches as Parameters, median of the files that learn; running statistics and
computed tables are no weights, so that not every file can reach 100 %.
"""


def source(name: str) -> str:
    """Where a file comes from."""
    if "_qdq." in name:
        return "quantized"
    return next((s for s in _SOURCES if name.endswith(f".{s}.onnx")), "others")


def page(text: str, runs: Rows, peers: Mapping[str, Rows], good: Callable[[Row], bool]) -> str:
    """The whole page."""
    title = f"# The torch form of ONNX files\n\n{text.strip()}\n"
    parts = [title, _counts(runs, good), _failures(runs, good)]
    if peers:
        parts += [_peers(runs, peers)]
    return "\n".join([*parts, _table(runs)]) + "\n"


def _counts(runs: Rows, good: Callable[[Row], bool]) -> str:
    times = [r["seconds"] for r in runs.values() if "seconds" in r]
    late = sum(t > 3 for t in times)
    whole = f"**{sum(map(good, runs.values()))} of {len(runs)} files pass**"
    told = f"{whole}; built in {median(times):.2f} s (median), {max(times):.1f} s at most, {late} in more than 3 s.\n"
    lines = [told, "| files | pass | worst difference of those | median share reached |", "|---|---|---|---|"]
    for kind, rows in _kinds(runs):
        if not rows:
            continue
        fine = [r for r in rows if good(r)]
        worst = max((r["difference"] for r in fine), default=0.0)
        lines.append(f"| {kind} | {len(fine)} of {len(rows)} | {worst:.0e} | {_middle(map(_share, fine))} |")
    return "\n".join(lines) + "\n"


def _kinds(runs: Rows) -> Iterable[tuple[str, list[Row]]]:
    for kind in _SOURCES:
        yield _TOLD[kind], [r for n, r in runs.items() if source(n) == kind]
    yield "of all: transformers", [r for n, r in runs.items() if _TRANSFORMERS.search(n)]


def _failures(runs: Rows, good: Callable[[Row], bool]) -> str:
    lines = ["## What does not pass\n"]
    lines += [f"- {name}: {_why(row)}" for name, row in sorted(runs.items()) if not good(row)]
    edges = [
        f"- {name} passes at {row['difference']:.1e}: ONNX Runtime differs from itself by {row['spread']:.1e} there."
        for name, row in sorted(runs.items())
        if good(row) and row["difference"] >= BOUND
    ]
    shares = sorted((_share(row), name) for name, row in runs.items() if good(row) and _share(row) < 0.95)
    few = ", ".join(f"{name} {100 * share:.0f} %" for share, name in shares)
    least = [f"- Less than 95 % of the numbers are reached in {few}."] if few else []
    return "\n".join([*(lines if len(lines) > 1 else [*lines, "Nothing."]), "", *edges, *least]) + "\n"


def _why(row: Row) -> str:
    if "seconds" not in row:
        return row.get("refused") or row.get("fault") or "not run"
    faults = {
        f"differs by {row['difference']:.1e}": row["difference"] >= max(BOUND, row.get("spread", 0.0)),
        "no finite gradient": not row["finite"],
        "writing back changes it": not row["same"],
    }
    return ", ".join(why for why, true in faults.items() if true)


def _peers(runs: Rows, peers: Mapping[str, Rows]) -> str:
    """Every tool on the files that all were tried on."""
    tools = {"onnxcompress": runs, **peers}
    names = [n for n in runs if all(n in rows for rows in tools.values())]
    lines = [
        "## Beside other converters\n",
        _PEERS_TEXT,
        "| files | tool | converts | equal | learns | share | at least 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in _SOURCES:
        some = [n for n in names if source(n) == kind]
        lines += [_peer(f"{_TOLD[kind]} ({len(some)})", tool, some, rows, runs) for tool, rows in tools.items()]
    return "\n".join([*lines, "", *_wrong(names, peers)]) + "\n"


def _peer(kind: str, tool: str, names: list[str], rows: Rows, runs: Rows) -> str:
    runs_ = [n for n in names if "difference" in rows[n]]
    equal = [n for n in runs_ if rows[n]["difference"] < max(BOUND, runs[n].get("spread", 0.0))]
    learns = [n for n in equal if rows[n].get("finite")]
    shares = [min(1.0, rows[n]["reached"] / max(1, runs[n]["floats"])) for n in learns]
    whole = sum(share >= 0.95 for share in shares)
    return f"| {kind} | {tool} | {len(runs_)} | {len(equal)} | {len(learns)} | {_middle(shares)} | {whole} |"


def _wrong(names: list[str], peers: Mapping[str, Rows]) -> Iterable[str]:
    for tool, rows in peers.items():
        wrong = [n for n in names if rows[n].get("difference", 0.0) >= BOUND]
        reasons = Counter(_word(rows[n]["fault"]) for n in names if "fault" in rows[n])
        told = [f"{why} ({count})" for why, count in reasons.most_common(12)]
        yield f"- {tool} runs but differs on {len(wrong)}: {', '.join(sorted(wrong)) or 'none'}."
        yield f"  What stops it most (files): {'; '.join(told) or 'nothing'}."


def _word(fault: str) -> str:
    op = re.search(r"operation_type='(\w+)', version=(\d+)", fault)
    return f"no {op[1]}-{op[2]}" if op else fault[:80].replace("|", "/")


def _share(row: Row) -> float:
    return min(1.0, row["reached"] / max(1, row["floats"]))


def _middle(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{100 * median(listed):.1f} %" if listed else "-"


def _table(runs: Rows) -> str:
    lines = [
        "## File by file\n",
        "| file | build, s | difference | elements reached | gradients finite | bytes kept |",
        "|---|---|---|---|---|---|",
    ]
    yes = {True: "yes", False: "**no**"}
    for name, row in sorted(runs.items()):
        if "seconds" not in row:
            lines.append(f"| {name} | {_why(row).replace('|', '/')} | | | | |")
            continue
        told = f"{row['seconds']:.2f} | {row['difference']:.0e} | {100 * _share(row):.1f} %"
        lines.append(f"| {name} | {told} | {yes[row['finite']]} | {yes[row['same']]} |")
    return "\n".join(lines)
