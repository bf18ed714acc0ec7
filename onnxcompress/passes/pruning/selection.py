"""A selection as JSON: which channels of which group go, to be looked at, kept, and replayed to the same bytes.

{"schema": "onnxcompress.prune-plan/1", "model": "sha256 of the input", "groups": [
   {"producers": [{"node": "conv1", "weight": "w1", "channels": 64}], "rows": 1, "channels": 64, "removed": [[0, 5]]}]}

A group is named by the nodes that make its channels. `removed` has a list for each row of the group (most have one
row; blocks that choose for themselves have more), numbers counting the row's removable channels in the model's order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxcompress import model_io
from onnxcompress.errors import UsageError
from onnxcompress.graph import label
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.plan import Decision, emptied
from onnxcompress.passes.pruning.trace import Producer, Trace
from onnxcompress.report import Finding

SCHEMA = "onnxcompress.prune-plan/1"
META = "onnxcompress.plan"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Group:
    """One group of a plan: the names and weights of its producers, its shape, and what goes."""

    nodes: tuple[str, ...]
    weights: tuple[str, ...]
    rows: int
    channels: int
    removed: tuple[tuple[int, ...], ...]

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.nodes[0]


def selection(cells: Sequence[Cell], removed: np.ndarray) -> list[dict[str, Any]]:
    """The groups of a plan, for cells of which something goes.

    Args:
        cells: What was decided on.
        removed: One bool a class: True where it goes.
    """
    chosen = [cell for cell in cells if removed[cell.order].any()]
    return [_entry(cell, [np.flatnonzero(removed[row]).tolist() for row in _rows(cell)]) for cell in chosen]


def document(groups: list[dict[str, Any]], fingerprint: str) -> str:
    """A plan as JSON text; `fingerprint` is the input model's."""
    return json.dumps({"schema": SCHEMA, "model": fingerprint, "groups": groups}, indent=1, ensure_ascii=False) + "\n"


def replay(found: Trace, cells: Sequence[Cell], path: str, ctx: Context) -> tuple[Decision, list[Finding]]:
    """The decision that a saved plan stands for.

    Raises:
        UsageError: Where the file is no plan, or its groups are not those of the model.
    """
    fingerprint, groups = load(path)
    gone = np.zeros(len(found.atoms), bool)
    for cell, group in zip(_matched(cells, groups, path), groups, strict=True):
        for row, removed in zip(_rows(cell), group.removed, strict=True):
            gone[row[list(removed)]] = True
    for row in found.rows:
        if gone[row.slots].sum() != gone[row.contents].sum():
            raise _refusal(path, "rows of one group would keep unequal numbers of channels")
    if emptied(found, gone):
        raise _refusal(path, "it would leave a layer without any channel")
    counts = np.array([int(gone[cell.order[0]].sum()) for cell in cells], np.int64)
    same = fingerprint == model_io.fingerprint(ctx.original)
    text = f"the plan was made for another file; its {len(groups)} groups were matched by the names of their layers"
    return Decision(counts, gone, None, 0.0, 0.0), [] if same else [Finding("PRUNE-PLAN-OTHER-FILE", text)]


def load(path: str) -> tuple[str, list[Group]]:
    """Fingerprint and groups of a plan file; nothing in it is trusted.

    Raises:
        UsageError: Saying what is wrong with it.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise _refusal(path, f"it is larger than {_MOST_BYTES >> 20} MB")
        raw = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as cause:
        raise _refusal(path, cause.strerror or str(cause)) from cause
    except (ValueError, RecursionError) as cause:
        raise _refusal(path, f"it is not valid JSON ({str(cause) or type(cause).__name__})") from cause
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA or not isinstance(raw.get("groups"), list):
        raise _refusal(path, f"it is not of the schema {SCHEMA}")
    if not isinstance(raw.get("model"), str):
        raise _refusal(path, "its model is not a fingerprint")
    return raw["model"], [_group(entry, at, path) for at, entry in enumerate(raw["groups"])]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _group(entry: Any, at: int, path: str) -> Group:
    if not isinstance(entry, dict) or not isinstance(entry.get("producers"), list) or not entry["producers"]:
        raise _refusal(path, f"group {at} names no producers")
    names = [_names(producer) for producer in entry["producers"]]
    if None in names:
        raise _refusal(path, f"group {at} has a producer without node and weight")
    nodes, weights = zip(*(pair for pair in names if pair is not None), strict=True)
    rows, channels, removed = (entry.get(key) for key in ("rows", "channels", "removed"))
    if not (_whole(rows) and _whole(channels) and isinstance(removed, list) and len(removed) == rows):
        raise _refusal(path, f"group {at} ({nodes[0]}) has no list of removed channels for each of its rows")
    assert isinstance(rows, int) and isinstance(channels, int)  # noqa: PT018 - what _whole has seen
    for row in removed:
        if not isinstance(row, list) or not all(_whole(i, 0) and i < channels for i in row):
            wanted = f"numbers from 0 to {channels - 1}"
            raise _refusal(path, f"group {at} ({nodes[0]}) removes channels that are not {wanted}")
        if len(set(row)) < len(row):
            raise _refusal(path, f"group {at} ({nodes[0]}) removes a channel twice")
    return Group(nodes, weights, rows, channels, tuple(tuple(row) for row in removed))


def _names(producer: Any) -> tuple[str, str] | None:
    if not isinstance(producer, dict):
        return None
    node, weight = producer.get("node"), producer.get("weight")
    return (node, weight) if isinstance(node, str) and isinstance(weight, str) else None


def _whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _matched(cells: Sequence[Cell], groups: Sequence[Group], path: str) -> list[Cell]:
    """The cell of every group: by the names of its nodes, else by those of its weights."""
    waiting = list(cells)
    result: list[Cell] = []
    wrong: list[str] = []
    for group in groups:
        cell = _find(waiting, group)
        if cell is None:
            wrong.append(_difference(cells, group))
        else:
            waiting.remove(cell)
            result.append(cell)
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UsageError(
            f"the plan {path} belongs to another model",
            why=f"{len(wrong)} of its {len(groups)} groups differ: {'; '.join(wrong[:3])}{more}",
            hint="Give the model that it was made for, with the same --only, --exclude and --allow-output.",
            code="USAGE-PLAN-MISMATCH",
        )
    return result


def _find(cells: Sequence[Cell], group: Group) -> Cell | None:
    fitting = [cell for cell in cells if cell.order.shape == (group.rows, group.channels)]
    by_name = next((cell for cell in fitting if _nodes(cell) == set(group.nodes)), None)
    weights = set(group.weights) - {""}
    by_weight = next((cell for cell in fitting if weights and _weights(cell) == weights), None)
    return by_name or by_weight


def _difference(cells: Sequence[Cell], group: Group) -> str:
    """What the model has instead of the group."""
    met = next((cell for cell in cells if _nodes(cell) & set(group.nodes)), None)
    if met is None:
        return f"no channels of {group.name} may be cut here"
    rows, channels = met.order.shape
    if (rows, channels) != (group.rows, group.channels):
        return f"{group.name} has {channels} removable channels here, {group.channels} in the plan"
    return f"{group.name} is tied to other layers"


def _rows(cell: Cell) -> np.ndarray:
    """The classes of each row in the model's order, whatever their importance."""
    return np.sort(cell.order, axis=1)


def _entry(cell: Cell, removed: list[list[int]]) -> dict[str, Any]:
    producers = [{"node": label(p.node), "weight": _weight(p), "channels": len(p.ids)} for p in cell.producers]
    rows, channels = cell.order.shape
    return {"producers": producers, "rows": rows, "channels": channels, "removed": removed}


def _weight(producer: Producer) -> str:
    """The name of the producer's weight: of its second input, or of a table that it looks entries up in."""
    inputs = [value for value in producer.node.inputs if value is not None and value.is_initializer()]
    return (inputs[0].name or "") if inputs else ""


def _nodes(cell: Cell) -> set[str]:
    return {label(producer.node) for producer in cell.producers}


def _weights(cell: Cell) -> set[str]:
    return {name for producer in cell.producers if (name := _weight(producer))}


def _refusal(path: str, why: str) -> UsageError:
    hint = "Give a file that --plan-out has written."
    return UsageError(f"cannot use the plan {path}", why=why, hint=hint, code="USAGE-PLAN")
