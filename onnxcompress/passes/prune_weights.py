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
    """Set single weights to zero; shapes stay, the zipped file shrinks, dense runtimes gain no speed.

    Weights of convolutions, matrix products and recurrent layers; biases, norms and embeddings stay. With data the
    zeros are chosen by what they cost the layer's output, and the weights that stay make up for them (second order,
    after OBS and SparseGPT); the method then tells how many each layer gives. Without data the smallest go.
    """

    name: ClassVar[str] = "prune-weights"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "optional"
    not_after: ClassVar[tuple[str, ...]] = ("insert-qdq", "quantize-weights")

    weights: str = option(
        "threshold",
        "threshold: the same fraction of each layer; global: the smallest of all layers; histogram: each layer's "
        "valley; 2:4 or any N:M, N of every M stay along the input channels.",
    )
    sparsity: float | None = option(
        None, "Fraction of the weights to set to zero, 0 to 1 (0.5 by default); at most that for histogram."
    )
    threshold: float | None = option(None, "With threshold: as many as are smaller than this, instead of a fraction.")
    cut: str = option(
        "valley",
        "With histogram: at the valley between two heaps, where there is one, or at the percentile of --sparsity.",
        choices=("valley", "percentile"),
    )
    layer: tuple[str, ...] = option((), "Sparsity by layer: NAME=0.3, re:REGEX=0.3 or op:TYPE=0.3; the last one wins.")
    samples: int = option(256, "At most this many samples are used.")
    rows: int = option(30_000, "At most this many rows enter the second moments of one layer.")

    def check(self) -> None:
        """Refuse what is out of range or contradicts itself."""
        from onnxcompress.passes.sparsifying.amounts import check_options

        check_options(self)

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Zero weights of `model` in place; see `onnxcompress.passes.sparsifying`."""
        from onnxcompress.passes.sparsifying.sparsify import sparsify

        self.check()
        return sparsify(model, ctx, self)
