"""Repeat the rules until none applies, and tell what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx_ir as ir

from onnxcompress.passes.normalizing.branches import inline_settled_branches
from onnxcompress.passes.normalizing.constants import lift_constants
from onnxcompress.passes.normalizing.dead import remove_dead
from onnxcompress.passes.normalizing.duplicates import merge_duplicates
from onnxcompress.passes.normalizing.folding import Folder
from onnxcompress.passes.normalizing.hoisting import hoist_shared
from onnxcompress.passes.normalizing.identities import remove_identities
from onnxcompress.passes.normalizing.weights_as_inputs import freeze_weights
from onnxcompress.report import Finding

_MESSAGES = {
    "NORMALIZE-FROZEN-INPUTS": "weights were listed as inputs too; they can no longer be overridden",
    "NORMALIZE-LIFTED": "Constant nodes became initializers",
    "NORMALIZE-INLINED": "If nodes with a settled condition were replaced by the branch taken",
    "NORMALIZE-FOLDED": "nodes with constant inputs were computed once",
    "NORMALIZE-IDENTITY": "Identity and inference-mode Dropout nodes were removed",
    "NORMALIZE-HOISTED": "copies of constants that several bodies held are gone; the main graph holds one",
    "NORMALIZE-MERGED": "initializers with equal content now share one",
    "NORMALIZE-DEAD": "nodes and initializers that nothing reads were removed",
}

Rule = Callable[[ir.Model], int]


def normalize(model: ir.Model, *, fold: bool = True, merge: bool = True, freeze_inputs: str = "auto") -> list[Finding]:
    """Bring `model` into normal form in place.

    Args:
        model: The model to edit.
        fold: Compute constant expressions.
        merge: Let equal weights share one initializer.
        freeze_inputs: When initializers are taken off the graph inputs: ``auto``, ``always`` or ``never``.

    Returns:
        One finding for each rule that applied, and one for each node that was left for its size.
    """
    frozen = freeze_weights(model, freeze_inputs)
    folder = Folder(model) if fold else None
    counts: Counter[str] = Counter({"NORMALIZE-FROZEN-INPUTS": frozen} if frozen else {})
    while _round(model, counts, folder, merge=merge):
        pass
    _sort(model)
    done = [Finding(code, f"{n} {_MESSAGES[code]}", numbers={"count": n}) for code, n in sorted(counts.items())]
    return done + (folder.left_alone if folder is not None else [])


def _round(model: ir.Model, counts: Counter[str], folder: Folder | None, *, merge: bool) -> int:
    rules: dict[str, Rule] = {"NORMALIZE-LIFTED": lift_constants, "NORMALIZE-INLINED": inline_settled_branches}
    if folder is not None:
        rules["NORMALIZE-FOLDED"] = folder
    rules["NORMALIZE-IDENTITY"] = remove_identities
    if merge:
        rules["NORMALIZE-HOISTED"] = hoist_shared
        rules["NORMALIZE-MERGED"] = merge_duplicates
    rules["NORMALIZE-DEAD"] = remove_dead
    applied = {code: n for code, rule in rules.items() if (n := rule(model))}
    counts.update(applied)
    return sum(applied.values())


def _sort(model: ir.Model) -> None:
    """Topological order everywhere; a graph in order stays as it is."""
    model.graph.sort()
    for function in model.functions.values():
        function.sort()
