"""The branches that a probe takes, laid open.

If nodes are replaced by the branch they choose, so that every tensor of it lies in the main graph and can be observed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import all_names, clone, fresh_name
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions


def taken_branches(model: ir.Model, feeds: Mapping[str, np.ndarray], runtime: RuntimeOptions | None = None) -> ir.Model:
    """A copy of `model` that computes the same on `feeds` and has no If in its main graph.

    Tensors of the branches keep their names, but for those that clash with a name in use.

    Raises:
        ModelError: Where the model does not run on `feeds`.
    """
    part = clone(model)
    while choices := [node for node in part.graph if node.op_type == "If"]:
        names = list(dict.fromkeys(node.inputs[0].name or "" for node in choices if node.inputs[0] is not None))
        found = Session(part, runtime, optimize=False, taps=names).run(feeds, names)
        for node in choices:
            given = node.inputs[0]
            chosen = given is not None and bool(np.asarray(found[given.name or ""]).any())
            _lay_open(part, node, node.attributes["then_branch" if chosen else "else_branch"].as_graph())
    return part


def _lay_open(model: ir.Model, node: ir.Node, branch: ir.Graph) -> None:
    main = model.graph
    taken = all_names(model) - _own_names(branch)
    for value in list(branch.initializers.values()):
        branch.initializers.pop(value.name or "")
        value.name = fresh_name(taken, value.name or "constant")
        main.register_initializer(value)
    results = list(branch.outputs)
    inner = list(branch)
    branch.outputs.clear()
    branch.remove(inner)
    for value in (output for one in inner for output in one.outputs if output.name):
        value.name = fresh_name(taken, value.name or "")
    main.insert_before(node, inner)
    for old, new in zip(list(node.outputs), results, strict=True):
        copy = ir.Node("", "Identity", [new], name=f"{node.name}/{old.name}")
        main.insert_before(node, copy)
        old.replace_all_uses_with(copy.outputs[0], replace_graph_outputs=True)
        copy.outputs[0].name, old.name = old.name, None
    main.remove(node)


def _own_names(branch: ir.Graph) -> set[str]:
    names = {value.name or "" for node in branch for value in node.outputs}
    return names | set(branch.initializers)
