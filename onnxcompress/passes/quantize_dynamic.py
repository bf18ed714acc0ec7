"""The pass `quantize-dynamic`: products by a constant in int8, with ranges measured anew at every inference.

x W becomes s_x s_W (q_x - z_x) q_W: DynamicQuantizeLinear finds s_x and z_x from the smallest and largest value of x,
MatMulInteger multiplies, and Cast, Mul and Add bring scales and bias back. W has one scale for each column. No data is
needed, and activations that samples would not show (long texts, loud recordings) cannot leave the range. For ONNX
Runtime, which runs the group as one kernel. Other weights are stored as int8 and compute in float.
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
class QuantizeDynamic(Pass):
    """MatMul and Gemm in int8 with ranges found at every inference; needs no data (ONNX Runtime)."""

    name: ClassVar[str] = "quantize-dynamic"
    effect: ClassVar[Effect] = Effect.LOSSY
    at_sample_sizes: ClassVar[bool] = True

    per_channel: bool = option(True, "One weight scale for each output channel.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Quantize every product by a constant matrix, and say why each of the others stays float.

        Raises:
            UsageError: For a target that is not ONNX Runtime.
        """
        from onnxcompress.passes.quantization.dynamic import quantize_dynamic

        return quantize_dynamic(model, ctx, self)
