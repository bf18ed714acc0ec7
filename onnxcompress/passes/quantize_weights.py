"""The pass `quantize-weights`: weights as int8 times a scale, everything else as it was. Needs no data.

Each weight w becomes round(w / s) with one scale s for each output channel, s = max |w| / 127 over the channel, so the
error of a weight is at most s / 2. Recurrent weights have one scale for each direction and row of a gate. For ONNX
Runtime the product stands behind Cast and Mul, which it folds while it loads the model; for other targets behind a
DequantizeLinear. A table that Gather reads is gathered as int8 and dequantized after, with one scale a column, so that
it is never expanded whole.
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
class QuantizeWeights(Pass):
    """Store weights as int8, about four times smaller; the model computes in float as before."""

    name: ClassVar[str] = "quantize-weights"
    effect: ClassVar[Effect] = Effect.LOSSY
    by_profile: ClassVar[bool] = True

    per_channel: bool = option(True, "One weight scale for each output channel.")
    clip: str = option(
        "none",
        "How a channel's scale is chosen: its largest weight, or least squared error.",
        choices=("none", "mse"),
    )

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Quantize every weight that is worth it, and say why each of the others stays float."""
        from onnxcompress.passes.quantization.weights import quantize_weights

        return quantize_weights(model, ctx, self)
