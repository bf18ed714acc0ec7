"""Initializers that are graph inputs as well: a caller may override them, so no pass may take them for constant.

Exporters of IR version 3 had to list every initializer among the inputs, and some later ones still do. Where all
initializers are listed nobody chose to open one of them, and they are taken off the inputs; where only some are, the
author did choose, and they stay. What a caller must feed does not change.
"""

from __future__ import annotations

import onnx_ir as ir

_FREE_INITIALIZERS = 4
"""From this IR version on, an initializer need not be a graph input."""


def freeze_weights(model: ir.Model, when: str) -> int:
    """Take initializers off the graph inputs; returns how many.

    Args:
        model: The model to edit.
        when: ``auto`` (only where all initializers are inputs), ``always`` or ``never``.
    """
    initializers = model.graph.initializers
    listed = {value.name for value in model.graph.inputs if value.name in initializers}
    if when == "never" or not listed or (when == "auto" and len(listed) < len(initializers)):
        return 0
    kept = [value for value in model.graph.inputs if value.name not in listed]
    model.graph.inputs.clear()
    model.graph.inputs.extend(kept)
    model.ir_version = max(model.ir_version, _FREE_INITIALIZERS)
    return len(listed)
