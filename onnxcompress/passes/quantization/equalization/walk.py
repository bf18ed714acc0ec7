"""The walk over a model that marks every tensor."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import label, tensor_of
from onnxcompress.passes.quantization.equalization.marks import Marks
from onnxcompress.passes.quantization.equalization.rules import RULES
from onnxcompress.shapes.table import ShapeTable


def mark(model: ir.Model, table: ShapeTable, excluded: set[str] | None = None, *, caps: bool = False) -> Marks:
    """The marks of all tensors of the main graph.

    Args:
        model: Not edited.
        table: Shapes under a probe.
        excluded: Labels of nodes that stay as they are.
        caps: Clips from zero to a constant pass scales on and are noted; otherwise they freeze.
    """
    found = Marks(model, table, caps=[] if caps else None)
    for node in model.graph:
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        given = [value for value in node.inputs if value is not None]
        unknown = any(found.shape(value) is None for value in given)
        constant = all(tensor_of(value) is not None for value in given)
        if rule is None or label(node) in (excluded or ()) or unknown or constant:
            found.freeze_inputs(node)
        else:
            rule(found, node)
    for value, ids in list(found.ids.items()):
        if value.is_graph_output() or any(use.node.graph is not model.graph for use in value.uses()):
            found.freeze(ids)
    return found
