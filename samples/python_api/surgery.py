"""A script for onnx-graphsurgeon, unchanged but for the decorator: bound every Relu, so that int8 ranges stay small."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxcompress.interop.graphsurgeon import gs_pass


@gs_pass
def clip_relus(graph: gs.Graph, limit: float = 6.0) -> None:
    """Replace Relu by Clip between 0 and a limit."""
    for node in graph.nodes:
        if node.op == "Relu":
            bounds = {"low": np.float32(0), "high": np.float32(limit)}
            node.op = "Clip"
            node.inputs += [gs.Constant(f"{node.name}/{name}", np.asarray(value)) for name, value in bounds.items()]
