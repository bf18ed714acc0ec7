"""The pass `equalize`: the same function, with ranges moved between layers so that int8 loses less.

Channels of very different range share one int8 scale in a tensor. Where a layer's channel is divided by s and what
reads it multiplied by s, nothing changes but the ranges: cross-layer equalization evens out the weights of two layers
(Nagel et al. 2019), smoothing moves the range of activations into the weights that read them (Xiao et al. 2022).
Channels are followed through whatever commutes with a positive factor: ReLU, pooling, sums, reshapes, concatenations.
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
class Equalize(Pass):
    """Move ranges between the layers of a float model, exactly, so that it loses less in int8."""

    name: ClassVar[str] = "equalize"
    effect: ClassVar[Effect] = Effect.EXACT
    needs_data: ClassVar[str] = "optional"
    not_after: ClassVar[tuple[str, ...]] = ("insert-qdq", "quantize-weights")

    method: str = option("auto", "How scales are chosen; auto tries both.", choices=("cross-layer", "smooth", "auto"))
    alpha: float = option(-1.0, "Share of the range that smoothing takes off a tensor, 0..1; below 0 tries several.")
    iterations: int = option(2, "How often all tensors are gone through.")
    per_channel: bool = option(True, "The weights will get one scale for each output channel.")

    def check(self) -> None:
        """Refuse a share above 1 and fewer than one iteration."""
        if self.alpha > 1:
            raise UsageError(f"alpha {self.alpha:g} is above 1", hint="Give 0.5, say.", code="USAGE-BAD-VALUE")
        if self.iterations < 1:
            raise UsageError(f"iterations {self.iterations} is below 1", hint="Give 2.", code="USAGE-BAD-VALUE")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Scale constants in place; one finding for each set of channels that changed."""
        from onnxcompress.passes.quantization.equalization import equalize

        return equalize(
            model,
            ctx.data,
            ctx,
            method=self.method,
            alpha=self.alpha,
            iterations=self.iterations,
            per_channel=self.per_channel,
        )
