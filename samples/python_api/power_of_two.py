"""A pass of one's own: round every weight to a power of two, so that a multiplication becomes a shift."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress import Context, Effect, Finding, Pass
from onnxcompress.passes.base import option

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, kw_only=True)
class PowerOfTwo(Pass):
    """Round weights to a power of two; the line above is what `--help` shows."""

    name: ClassVar[str] = "power-of-two"
    effect: ClassVar[Effect] = Effect.LOSSY
    steps: int = option(1, "Values an octave: 1 gives 1, 2, 4; 2 adds their square roots between.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Edit the model in place; the manager has cloned it, and measures and saves it."""
        import numpy as np  # inside, so that --help stays fast
        import onnx_ir as ir

        from onnxcompress.graph import array_of

        for name, value in sorted(model.graph.initializers.items()):
            weights = array_of(value)
            if weights is None or weights.dtype != np.float32 or weights.ndim < 2:
                yield Finding("POW2-SKIPPED", "not a float32 weight matrix", node=name)
                continue
            octaves = np.log2(np.abs(weights), out=np.zeros_like(weights), where=weights != 0)
            rounded = np.sign(weights) * np.exp2(np.rint(octaves * self.steps) / self.steps, dtype=np.float32)
            value.const_value = ir.tensor(rounded.astype(np.float32), name=name)
            error = float(np.linalg.norm(rounded - weights) / max(np.linalg.norm(weights), 1e-30))
            yield Finding("POW2-ROUNDED", "rounded", node=name, numbers={"relative_l2": round(error, 4)})
