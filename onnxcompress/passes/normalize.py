"""The pass `normalize`: the same numbers from a plainer graph, so that every later pass meets fewer forms.

The rules live one a file in `onnxcompress.passes.normalizing` and are repeated until none of them finds anything,
which makes the pass idempotent. Inputs, outputs and their declared types and shapes stay as they are; a value that
survives keeps its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class Normalize(Pass):
    """Fold constants, inline settled branches, and remove what does nothing, without changing a number."""

    name: ClassVar[str] = "normalize"
    effect: ClassVar[Effect] = Effect.EXACT

    fold: bool = option(True, "Compute nodes whose inputs are all constants.")
    merge: bool = option(True, "Let equal weights share one initializer.")

    freeze_inputs: str = option(
        "auto",
        "When weights that are graph inputs too become constants: auto means only where all of them are.",
        choices=("auto", "always", "never"),
    )

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Apply the rules until nothing changes, and yield one finding for each rule that found something."""
        from onnxcompress.passes.normalizing import normalize

        return normalize(model, fold=self.fold, merge=self.merge, freeze_inputs=self.freeze_inputs)
