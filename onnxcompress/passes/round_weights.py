"""The pass `round-weights`: the integers of quantized weights chosen together, by the error of each layer's output."""

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
class RoundWeights(Pass):
    """Round the weights of a quantized model anew, so that each layer gives the float model's output.

    The quantized model is run layer by layer beside its teacher, the float model that it was made from; tensors are
    matched by name. Each layer's integers and bias are fitted to the teacher's output on the input that the quantized
    model really gives it, so that they make up for each other and for what earlier layers lost. Scales, activations and
    the graph stay (weight scales change with rescale). The whole is undone where the outputs did not come closer to the
    teacher's on samples that took no part.

    Source: GPTQ (Frantar et al. 2022) with the teacher's target, then coordinate descent.
    """

    name: ClassVar[str] = "round-weights"
    effect: ClassVar[Effect] = Effect.LOSSY
    at_sample_sizes: ClassVar[bool] = True
    needs_data: ClassVar[str] = "always"

    samples: int = option(256, "At most this many samples are used.")
    rescale: bool = option(False, "Choose weight scales anew too, one for each output channel.")

    def check(self) -> None:
        """Refuse fewer than two samples."""
        if self.samples < 2:
            hint = "Give 2 or more: one to fit, one to judge."
            raise UsageError(f"--samples {self.samples} is too few", hint=hint, code="USAGE-BAD-VALUE")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Edit integers and biases of `model` in place; one finding a layer, and one for the whole."""
        from onnxcompress.passes.quantization.rounding.rounding import round_weights

        assert ctx.data is not None
        samples = ctx.data.draw(self.samples, seed=ctx.seed)
        return round_weights(model, ctx.teacher, samples, ctx, rescale=self.rescale)
