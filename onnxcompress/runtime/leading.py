"""The part of a model that leads to some of its tensors."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxcompress.runtime.session import with_taps


def leading_to(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy whose outputs are the tensors `names` alone, without the nodes and weights that none of them needs.

    ONNX Runtime runs all of a graph whatever is fetched, and keeps a copy of all its weights.

    Args:
        model: Any model; it is not edited. All its inputs stay.
        names: Tensors of the main graph, at least one.

    Raises:
        ModelError: Where the main graph has no tensor of such a name.
    """
    copy = with_taps(model, names)
    if copy is model:
        return model
    outputs = {value.name: value for value in copy.graph.outputs}
    copy.graph.outputs[:] = [outputs[name] for name in names]
    RemoveUnusedNodesPass()(copy)
    return copy
