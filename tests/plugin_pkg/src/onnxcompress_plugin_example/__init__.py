"""One exact pass of a third party. Its module imports nothing heavy; `run` does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class MergeNegations(Pass):
    """Take out two Neg nodes in a row: -(-x) is x."""

    name: ClassVar[str] = "merge-negations"
    effect: ClassVar[Effect] = Effect.EXACT

    most: int = option(1000, "How many pairs to take out at most.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Let the readers of each second Neg read the first one's input."""
        from onnxcompress.report import Finding

        pairs = [node for node in model.graph if _is_second(node)][: self.most]
        for node in pairs:
            node.outputs[0].replace_all_uses_with(node.inputs[0].producer().inputs[0])
            model.graph.remove(node, safe=True)
        return [Finding("NEGATION-MERGED", "-(-x) became x", numbers={"pairs": len(pairs)})] if pairs else []


def _is_second(node: ir.Node) -> bool:
    """A Neg of a Neg; both of this graph, and the result not an output of it, which would lose its name."""
    first = node.inputs[0].producer() if node.op_type == "Neg" and node.inputs[0] is not None else None
    chained = first is not None and first.op_type == "Neg" and first.graph is node.graph
    return chained and not node.outputs[0].is_graph_output()
