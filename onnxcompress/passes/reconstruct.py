"""Repair a compressed student in closed form: layer-wise distillation by least squares, no gradient, no label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, option
from onnxcompress.report import Finding

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Pass):
    """Refit the linear nodes of a compressed model to the teacher's outputs, by least squares on samples.

    Convolutions of any kind, Gemm, MatMul and recurrent nodes get new weights, norms and what exceeds the memory
    ceiling a scale and a shift a channel; weights behind Q/DQ are left as they are. Targets beyond a clip that follows
    ask for nothing. Tensors are matched by name; where nothing says which channels a student kept, weights and
    activations do. The whole is undone where the outputs did not come closer to the teacher's. Without data only the
    means of removed channels go into the next layer's bias, where a BatchNormalization tells them.

    Source: layer-wise reconstruction (He et al. 2017; Frantar and Alistarh 2022), with the teacher's target through the
    residual; REPAIR (Jordan et al. 2022) for scales and shifts.
    """

    name: ClassVar[str] = "reconstruct"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "optional"
    not_after: ClassVar[tuple[str, ...]] = ("insert-qdq", "quantize-weights", "prune-weights")

    samples: int = option(512, "At most this many samples are used.")
    rows: int = option(60_000, "At most this many rows enter the least squares of one layer.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Edit the weights of `model` in place; one finding a linear node, and one for the whole."""
        from onnxcompress.passes.reconstruction.repair import repair

        return repair(model, ctx, samples=self.samples, rows=self.rows)
