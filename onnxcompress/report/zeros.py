"""What a report says of weights set to zero: in all, zipped, and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxcompress.report import units
from onnxcompress.report.records import PassRecord

TOTAL = "PRUNE-SPARSITY-TOTAL"
LAYER = ("PRUNE-SPARSITY", "PRUNE-WEIGHTS-EMPTIED")


@dataclass(frozen=True)
class LayerZeros:
    """One layer.

    Attributes:
        name: The node.
        weights: How many it has.
        share: Fraction that is zero, as text.
        plain: Relative error of its output by magnitude alone; empty where there was no data.
        error: The same as it is now.
    """

    name: str
    weights: str
    share: str
    plain: str
    error: str


def total(record: PassRecord) -> Mapping[str, Any]:
    """The figures of all layers together: weights, zeros, zipped and what they were; empty for others."""
    return next((finding.numbers for finding in record.findings if finding.code == TOTAL), {})


def standing(passes: Sequence[PassRecord]) -> Mapping[str, Any]:
    """The total that still holds at the end: that of the last pass that changed anything."""
    changed = [record for record in passes if record.changed]
    return total(changed[-1]) if changed else {}


def told(record: PassRecord) -> str:
    """``70.0 % of 733 k weights zero``; empty for other passes."""
    found = total(record)
    if not found:
        return ""
    return f"{100 * found['zeros'] / found['weights']:.1f} % of {units.count(found['weights'])} weights zero"


def layers(passes: Sequence[PassRecord]) -> list[LayerZeros]:
    """The layers of the last pass that set weights to zero, in its order."""
    found = [record for record in passes if total(record)]
    members = [f for f in found[-1].findings if f.code in LAYER] if found else []
    return [
        LayerZeros(
            f.node,
            units.count(float(f.numbers["weights"])),
            units.share(float(f.numbers["sparsity"])),
            units.short(f.numbers.get("error_by_magnitude", "")),
            units.short(f.numbers.get("error", "")),
        )
        for f in members
    ]
