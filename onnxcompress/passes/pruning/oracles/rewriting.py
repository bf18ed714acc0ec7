"""Copies of the traced model, at full size, with other numbers in its labelled constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, clone, fresh_name, set_constant
from onnxcompress.passes.pruning.trace import Trace, Use, array

Edit = Callable[[Use, np.ndarray], np.ndarray]
"""New numbers of a constant; the same object where nothing changes."""


class Rewritten:
    """A copy, its nodes by those of the traced model, and the names it uses.

    Args:
        found: The trace; its model is not edited.
        names: Names in use in that model.
    """

    def __init__(self, found: Trace, names: set[str]) -> None:
        self.model, self.names = clone(found.model), set(names)
        self.nodes = dict(zip(found.model.graph.all_nodes(), self.model.graph.all_nodes(), strict=True))
        self._values = dict(zip(_values(found.model), _values(self.model), strict=True))
        self._found = found

    def edit(self, edit: Edit) -> None:
        """Apply `edit` to every constant that has labels; readers that share it with others get a copy."""
        for number, use in enumerate(self._found.uses):
            numbers = array(use.value)
            new = None if numbers is None else edit(use, numbers)
            if new is None or new is numbers:
                continue
            if use.ports and len(use.value.uses()) > len(use.ports):
                name = fresh_name(self.names, f"{use.value.name}_edited_{number}")
                fresh = add_initializer(self.model.graph, name, new)
                for node, index in use.ports:
                    self.nodes[node].replace_input_with(index, fresh)
            else:
                set_constant(self._values[use.value], new)


def _values(model: ir.Model) -> list[ir.Value]:
    held = [v for graph in (model.graph, *model.graph.subgraphs()) for v in graph.initializers.values()]
    return held + [v for node in model.graph.all_nodes() for v in node.outputs]
