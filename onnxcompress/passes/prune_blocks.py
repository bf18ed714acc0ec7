"""The pass that removes whole residual branches and transformer blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class PruneBlocks(Pass):
    """Remove whole residual branches or transformer blocks: the ones that the outputs miss least.

    Works on any Add that joins a computed branch with what the branch started from. With data the branch's mean stays
    as a bias; without, branches are compared on random inputs.
    """

    name: ClassVar[str] = "prune-blocks"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "optional"
    not_after: ClassVar[tuple[str, ...]] = ("insert-qdq", "quantize-weights")

    blocks: float = option(0.0, "Fraction of the residual branches or blocks to remove, 0 to 1.")
    block_unit: str = option(
        "branch",
        "branch: each residual branch by itself; block: those that repeat together, as attention and MLP.",
        choices=("branch", "block"),
    )
    block_samples: int = option(64, "At most this many samples tell which blocks go.")

    def check(self) -> None:
        """Refuse a fraction that is out of range."""
        from onnxcompress.passes.depth.shorten import check_options

        check_options(self)

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Shorten `model` in place; see `onnxcompress.passes.depth`."""
        from onnxcompress.passes.depth.shorten import shorten

        self.check()
        return shorten(model, ctx, self)
