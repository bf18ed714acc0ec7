"""Graph outputs that the user lets a prune cut: ``--allow-output NAME[:AXIS]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import UsageError
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import dims_of
from onnxcompress.verify.freed import META, Freed, freed


def allowed_outputs(model: ir.Model, entries: Sequence[str]) -> dict[str, set[int]]:
    """Axes by output name.

    Raises:
        UsageError: Where the model has no such output, or the output no such axis.
    """
    known = {value.name or "": value for value in model.graph.outputs}
    found: dict[str, set[int]] = {}
    for entry in entries:
        name, _, number = (entry, "", "") if entry in known else entry.rpartition(":")
        if name not in known or not (entry == name or number.lstrip("-").isdigit()):
            hint = f"The model's outputs are {', '.join(known)}; write NAME or NAME:AXIS."
            raise UsageError(f"the model has no output {entry!r}", hint=hint, code="USAGE-PRUNE-OUTPUT")
        rank = len(dims_of(known[name]) or ())
        axes = range(rank) if entry == name else range(int(number), int(number) + 1)
        if not all(-rank <= axis < rank for axis in axes):
            hint = f"Give an axis from 0 to {rank - 1}, or none for all of them."
            raise UsageError(f"the output {name} has no axis {number}", hint=hint, code="USAGE-PRUNE-OUTPUT")
        found.setdefault(name, set()).update(axis % rank for axis in axes)
    return found


def cut_outputs(cut: Cut) -> Iterator[Finding]:
    """Write down what is left of the outputs that were cut, and say it."""
    model = cut.found.model
    known: Freed = {name: dict(axes) for name, axes in freed(model).items()}
    for value in dict.fromkeys(model.graph.outputs):
        name = value.name or ""
        for axis, (before, after) in cut.sizes(value).items():
            ids = cut.found.labels[value][axis]
            assert ids is not None
            old = known.get(name, {}).get(axis, list(range(before)))
            known.setdefault(name, {})[axis] = [old[i] for i in np.flatnonzero(cut.keep(ids)).tolist()]
            text = (
                f"the graph output {name} keeps {after} of {before} on axis {axis}, as allowed: its readers must follow"
            )
            numbers = {"axis": axis, "before": before, "after": after}
            yield Finding("PRUNE-OUTPUT-CUT", text, severity=Severity.WARNING, numbers=numbers)
    if known:
        model.meta[META] = known
