"""The pass `convert-float`: float16 weights and arithmetic where float16 is safe; inputs and outputs stay float32.

Softmax, normalizations, reductions, Resize, recurrent nodes and whatever leaves float16's range (65504; by
constants, and by samples where there are any) stay float32 between casts; large weights of theirs are stored as float16
behind a Cast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class ConvertFloat(Pass):
    """Store weights as float16 and compute in it where that is safe: half the bytes, the same inputs and outputs."""

    name: ClassVar[str] = "convert-float"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "optional"

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Convert the nodes that may, and name those that would leave float16's range."""
        from onnxcompress.passes.quantization.half import convert

        return convert(model, ctx)
