"""The pass that sets single weights to zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class PruneWeights(Pass):
    """Set the smallest weights to zero; shapes stay, the file compresses better, dense runtimes gain no speed.

    Weights of convolutions, matrix products and recurrent layers; biases, norms and embeddings stay.
    """

    name: ClassVar[str] = "prune-weights"
    effect: ClassVar[Effect] = Effect.LOSSY
    not_after: ClassVar[tuple[str, ...]] = ("insert-qdq", "quantize-weights")

    method: str = option(
        "threshold",
        "threshold: one for each layer; global: one for all layers; histogram: each layer's valley.",
        choices=("threshold", "global", "histogram"),
    )
    sparsity: float = option(0.5, "Fraction of the weights to set to zero, 0 to 1; at most that for histogram.")
    threshold: float = option(0.0, "With method threshold: zero what is smaller than this, instead of a fraction.")
    layer: tuple[str, ...] = option((), "Sparsity by layer: NAME=0.3, re:REGEX=0.3 or op:TYPE=0.3; the last one wins.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Zero weights of `model` in place; see `onnxcompress.passes.pruning.sparsify`."""
        from onnxcompress.passes.pruning.sparsify import check_options, sparsify

        check_options(self)
        return sparsify(model, ctx, self)
