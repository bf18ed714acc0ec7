"""The pass `fold-batchnorm`: batch normalization at inference is one multiplication and one addition a channel.

With gain g, offset o, mean m, variance v and epsilon e, BatchNormalization computes y = s x + t, channel by channel,

    s = g / sqrt(v + e)        t = o - s m

**After a linear node** (Conv, ConvTranspose, Gemm, MatMul with constant weights W and bias b) that nothing else reads:

    s (W * x + b) + t = (s W) * x + (s b + t)

so W is scaled along its output channels and the bias becomes s b + t. Output channels are axis 0 of a Conv's weights;
axis 1 within each group of a ConvTranspose's (shape C, M / groups, ...); the columns of Gemm's B (rows where transB
is set) and of MatMul's constant. Gemm's own factors stay: alpha scales s W as it scaled W, and beta is multiplied into
the new bias and set to 1. A MatMul has no bias, so an Add of t takes the place of the normalization.

**Before a Conv** that is its only reader:

    W * (s x + t) + b = (W s) * x + (b + sum over input channels and taps of W t)

This holds at the border only where the Conv does not pad (a pad is 0 after the normalization, not before), or t = 0.

All of this is computed in float64 and rounded once to the type of the weights. The result carries the name of the
value that the pair yielded; the value between the two vanishes.
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
class FoldBatchNorm(Pass):
    """Fold batch normalization into the weights of the convolution or matrix product next to it."""

    name: ClassVar[str] = "fold-batchnorm"
    effect: ClassVar[Effect] = Effect.EXACT
    not_after: ClassVar[tuple[str, ...]] = ("insert-qdq", "quantize-weights")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Fold each BatchNormalization or say, with a reason code, why it stays."""
        from onnxcompress.passes.batchnorm import fold_all

        return fold_all(model)
