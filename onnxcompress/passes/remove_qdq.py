"""The pass `remove-qdq`: a quantized model as the float model that it rounds.

- An integer constant q behind a DequantizeLinear of scale s and zero point z becomes the constant s (q - z), in the
  scale's type; a float constant behind a pair becomes that float.
- A pair on a tensor, Q then DQ with equal scale s and zero point z, goes. Where z is the least integer, the pair also
  did what an activation would: tools drop a Relu or Clip that the pair's range makes redundant. So behind a node that
  may yield negative numbers a Clip to [0, s (q_max - z)] takes its place.

What rounding did is gone; what it clipped stays clipped. Weights are those of the integers: a float original is
better where there still is one.
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
class RemoveQDQ(Pass):
    """Make a quantized model float again, so that it can be pruned, repaired or quantized anew."""

    name: ClassVar[str] = "remove-qdq"
    effect: ClassVar[Effect] = Effect.LOSSY

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Remove every pair, and say which Q/DQ nodes stay and why."""
        from onnxcompress.passes.quantization.removal import remove_pairs

        return remove_pairs(model)
