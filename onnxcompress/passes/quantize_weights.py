"""The pass `quantize-weights`: weights as narrow numbers times a scale, everything else as it was; data is optional.

Each weight w becomes round(w / s) with one scale s for each output channel, s = max |w| / 127 over the channel, so the
error of a weight is at most s / 2. Recurrent weights have one scale for each direction and row of a gate. For ONNX
Runtime the product stands behind Cast and Mul, which it folds while it loads the model; for other targets behind a
DequantizeLinear. A table that Gather reads is gathered as int8 and dequantized after, with one scale a column, so that
it is never expanded whole.

int4 has one scale for each block of 32 indices along the summed axis of a product (``--block``), each of least squared
error, and stands behind a DequantizeLinear of operator set 21, or in ONNX Runtime's MatMulNBits; filters have one scale
each. float8 is E4M3FN, rounded to nearest, saturating, the largest weight of a channel at 448.

With samples (``--data``), 4-bit numbers are then chosen anew so that each product gives the float model's output
(`round-weights`); that stays only where the outputs of unseen samples come nearer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class QuantizeWeights(Pass):
    """Store weights as int8, int4 or float8, four to eight times smaller; the model computes in float as before."""

    name: ClassVar[str] = "quantize-weights"
    effect: ClassVar[Effect] = Effect.LOSSY
    at_sample_sizes: ClassVar[bool] = True
    by_profile: ClassVar[bool] = True
    needs_data: ClassVar[str] = "optional"

    weights: str = option(
        "int8",
        "What a weight is stored as; int4 takes an eighth of float32's bytes, the others a quarter.",
        choices=("int8", "int4", "float8"),
    )
    block: int = option(32, "Indices that share a scale along the summed axis of a product, for int4.")
    format: str = option(
        "qdq",
        "Form of 4-bit products: DequantizeLinear in blocks, or ONNX Runtime's MatMulNBits.",
        choices=("qdq", "matmulnbits"),
    )
    per_channel: bool = option(True, "One weight scale for each output channel.")
    clip: str = option(
        "auto",
        "How a channel's weight scale is chosen: its largest weight, or least squared error; auto: that below 8 bits.",
        choices=("auto", "none", "mse"),
    )

    effort: str = option(
        "default",
        "With samples: fast rounds to nearest; default rounds int4 by what it does to outputs; best int8 too.",
        choices=("fast", "default", "best"),
    )
    samples: int = option(256, "Most samples used, evenly spaced; 0 for all.")

    def check(self) -> None:
        """Refuse forms that do not go together.

        Raises:
            UsageError: Naming the option.
        """
        if self.block < 16 or self.block & (self.block - 1):
            why = "runtimes read blocks of 16, 32, 64, 128 ..."
            raise UsageError(f"--block {self.block} is no block size", why=why, hint="Give --block 32.")
        if self.format == "matmulnbits" and self.weights != "int4":
            hint = "Give --weights int4 as well."
            raise UsageError("--format matmulnbits needs 4 bits", why="MatMulNBits is for 4 bits", hint=hint)

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Quantize every weight that is worth it, and say why each of the others stays float."""
        from onnxcompress.passes.quantization.weight_only import quantize_weights

        return quantize_weights(model, ctx, self)
