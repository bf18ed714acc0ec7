"""The pass `correct-bias`: what quantization shifts in the mean of a layer's output goes into its bias."""

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
class CorrectBias(Pass):
    """Correct the biases of a quantized model, so that its layers' outputs have the float model's means.

    The quantized model is run layer by layer beside its teacher, the float model that it was made from; tensors are
    matched by name. Only biases change (int32 ones at their own scale). A channel keeps its bias where samples that
    took no part in the mean do not gain; the whole is undone where the outputs did not come closer to the teacher's.

    Source: Nagel et al. 2019, section 4.2.
    """

    name: ClassVar[str] = "correct-bias"
    effect: ClassVar[Effect] = Effect.LOSSY
    at_sample_sizes: ClassVar[bool] = True
    needs_data: ClassVar[str] = "always"

    samples: int = option(256, "At most this many samples are used.")

    def check(self) -> None:
        """Refuse fewer than two samples."""
        if self.samples < 2:
            hint = "Give 2 or more: one to fit, one to judge."
            raise UsageError(f"--samples {self.samples} is too few", hint=hint, code="USAGE-BAD-VALUE")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Edit the biases of `model` in place; one finding a layer, and one for the whole."""
        from onnxcompress.passes.quantization.rounding.correction import correct_bias

        assert ctx.data is not None
        return correct_bias(model, ctx.teacher, ctx.data.draw(self.samples, seed=ctx.seed), ctx)
