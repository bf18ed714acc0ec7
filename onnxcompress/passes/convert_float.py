"""The pass `convert-float`: float16 weights and arithmetic where float16 is safe; inputs and outputs stay float32.

Softmax, normalizations, reductions, Resize, recurrent nodes and whatever leaves float16's range (65504; by
constants, and by samples where there are any) stay float32 between casts; large weights of theirs are stored as float16
behind a Cast.

bfloat16 is storage: large weights take half the bytes, behind a Cast, and every node computes in float32.
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
class ConvertFloat(Pass):
    """Store weights as float16 and compute in it where safe, or store bfloat16; half the bytes, same interface."""

    name: ClassVar[str] = "convert-float"
    effect: ClassVar[Effect] = Effect.LOSSY
    at_sample_sizes: ClassVar[bool] = True
    needs_data: ClassVar[str] = "optional"

    float_type: str = option(
        "float16",
        "float16 is stored and computed in; bfloat16, which has no products in ONNX Runtime on processors, is stored.",
        choices=("float16", "bfloat16"),
    )
    block_ops: tuple[str, ...] = option((), "Operator types that stay float32 too, Conv say.", flag="--block-op")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Convert the nodes that may, and name those that would leave float16's range."""
        from onnxcompress.passes.quantization.half import convert

        return convert(model, ctx, self)
