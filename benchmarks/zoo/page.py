"""The zoo's results as a page."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Row = dict[str, Any]
Rows = Mapping[str, Mapping[str, Row]]

TRANSFORMERS = re.compile(
    "bert|gpt|llama|mistral|qwen|gemma|phi|mixtral|opt_lm|bloom|t5_|vit|deit|beit|dino|clip|siglip|swin|segformer|pvt"
    "|whisper|wav2vec|audio_spec|dpt|mlp_mixer"
)
ALLOWED_FROZEN = 0.4
_HEAD = "| file | params 0.3 | 0.5 | without tables 0.5 | MACs 0.3 | 0.5 | frozen | why | zero test | trace s | s |"

_TEXT = """# Pruning the zoo

Written by `make zoo-prune` from the files that `make zoo-export` makes (`make zoo` does both); one thread, seed 0.
Networks are those that pytorchcv and transformers build from code, in small configurations or on small pictures, with
random weights that have the statistics of trained ones, and some of ours. `legacy` and `dynamo` are torch 2.13's two
exporters. Each file loses 30 % and 50 % of the channels (`prune --ratio`), without a repair.

- valid: onnx's checker with strict shape inference passes, and ONNX Runtime runs the file with its optimizations.
- zero test: the largest difference between the pruned model and the original with the removed channels at zero, over
  the largest value of the tensor, the worse of both ratios, at two batch sizes (`--verify full`).
- kept: parameters and multiply-accumulates left, of all; without tables: of the weights that are not a table of words.
- frozen: share of the weights whose every channel must stay, heads (which make the output and are read by no other
  weight) apart, and the reason codes; where an output holds them, what `--allow-output` takes to free them.
- Rows are kept from run to run: a good one may come from an earlier version than the last; `ARGS=--again` makes
  all anew. A file of the folder without a row has not been run.
- trace s: the walk that finds what belongs together; s: the whole, with verification. Taken on a shared machine.
"""


def page(rows: Rows, dropped: Mapping[str, str]) -> str:
    """Summary, one table of all files, those over the bound of frozen weights, and those that were not exported."""
    names = sorted(name for name in rows if not name.startswith("_"))
    lines = [_TEXT, *_summary({name: rows[name] for name in names}), "", _HEAD, "|" + "---|" * 11]
    lines += [_line(name, rows[name]) for name in names]
    lines += ["", "## Frozen over 40 %, heads apart", "", *_over(rows, names)]
    lines += ["", "## Not exported", "", *(f"- {name}: {why[:160]}" for name, why in sorted(dropped.items()))]
    return "\n".join(lines) + "\n"


def _summary(rows: Rows) -> list[str]:
    kinds = {"all": list(rows), "transformers": [n for n in rows if TRANSFORMERS.search(n)]}
    kinds["the others"] = [n for n in rows if n not in kinds["transformers"]]
    head = "| | files | good at 0.3 | good at 0.5 | median params kept 0.3 | 0.5 | worst 0.5 | median MACs kept 0.5 |"
    lines = [head, "|" + "---|" * 8]
    for kind, names in kinds.items():
        good = {r: [rows[n][r] for n in names if _good(rows[n].get(r))] for r in ("0.3", "0.5")}
        kept = {r: [_kept(row, "params") for row in found] for r, found in good.items()}
        macs = [_kept(row, "macs") for row in good["0.5"] if row["macs_before"]]
        figures = [len(names), len(good["0.3"]), len(good["0.5"])]
        shares = [_median(kept["0.3"]), _median(kept["0.5"]), _percent(max(kept["0.5"], default=1.0)), _median(macs)]
        lines.append(f"| {kind} | {' | '.join(map(str, figures))} | {' | '.join(shares)} |")
    return lines


def _good(row: Row | None) -> bool:
    return row is not None and bool(row.get("exact")) and row.get("valid") == ""


def _kept(row: Row, what: str) -> float:
    return row[f"{what}_after"] / max(row[f"{what}_before"], 1)


def _kept_without_tables(row: Row) -> float:
    before, after = (row[f"params_{w}"] - row[f"embedding_{w}"] for w in ("before", "after"))
    return after / max(before, 1)


def _median(values: Iterable[float]) -> str:
    listed = list(values)
    return _percent(statistics.median(listed)) if listed else ""


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _line(name: str, row: Mapping[str, Row]) -> str:
    bad = {r: why for r in ("0.3", "0.5") if (why := _failure(row.get(r)))}
    if bad:
        return f"| {name} | {'; '.join(f'{r}: {why}' for r, why in bad.items())[:300]} |" + " |" * 9
    less, more = row["0.3"], row["0.5"]
    tables = _percent(_kept_without_tables(more)) if more["embedding_before"] else ""
    cells = [_percent(_kept(less, "params")), _percent(_kept(more, "params")), tables]
    cells += [_percent(_kept(less, "macs")), _percent(_kept(more, "macs")), _percent(more["frozen"]), _why(more)]
    error = max(less["zero_test"], more["zero_test"])
    return f"| {name} | {' | '.join([*cells, f'{error:.0e}', str(more['trace_s']), str(more['whole_s'])])} |"


def _failure(row: Row | None) -> str:
    if row is None:
        return "not run"
    if "error" in row:
        return row["error"]
    return row["valid"] or ("" if row["exact"] else "numbers were not compared")


def _why(row: Row) -> str:
    shares = [f"{code.removeprefix('PRUNE-FROZEN-').lower()} {_percent(share)}" for code, share in row["why"].items()]
    return ", ".join([*shares, *(f"`--allow-output {name}`" for name in row["held_by"])])


def _over(rows: Rows, names: list[str]) -> list[str]:
    good = [(name, rows[name]["0.5"]) for name in names if _good(rows[name].get("0.5"))]
    over = [f"- {name}: {_percent(row['frozen'])}: {_why(row)}" for name, row in good if row["frozen"] > ALLOWED_FROZEN]
    codes = Counter(code for _, row in good for code in row["why"])
    counted = ", ".join(f"{code} in {count}" for code, count in codes.most_common())
    return [*(over or ["None."]), "", f"Reasons, by the number of files that have them: {counted or 'none'}."]
