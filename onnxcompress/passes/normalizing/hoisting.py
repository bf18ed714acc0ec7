"""Constants that two bodies hold alike move to the main graph, where every body can read them.

Folding inside the branches of an If leaves one copy a branch of what both computed from the same weight; a model whose
weights are prepared in each branch would come out larger than it went in. Only tensors that somebody else holds too are
moved: the others stay where they are read. Functions are closed and keep their own.
"""

from __future__ import annotations

from collections import defaultdict

import onnx_ir as ir

from onnxcompress.graph import all_names, fresh_name
from onnxcompress.passes.normalizing.constants import allows_constants
from onnxcompress.passes.normalizing.duplicates import candidates, digest_of

# Smaller tensors are axes, sizes and scalars: cheaper to hold twice than to capture.
_LEAST_ELEMENTS = 64


def hoist_shared(model: ir.Model) -> int:
    """Let equal constants of different bodies share one in the main graph; returns how many copies were dropped."""
    bodies = list(model.graph.subgraphs())
    if not bodies or not allows_constants(model):
        return 0
    names = all_names(model)
    groups = _alike([model.graph, *bodies]).values()
    return sum(_share(values, model.graph, names) for values in groups if len({id(v.graph) for v in values}) > 1)


def _alike(bodies: list[ir.Graph]) -> dict[object, list[ir.Value]]:
    """Large constants by type, shape and content; those of one number throughout are left out."""
    groups: dict[object, list[ir.Value]] = defaultdict(list)
    for value in (v for body in bodies for group in candidates(body) for v in group):
        tensor = value.const_value
        digest = digest_of(value) if tensor is not None and tensor.size >= _LEAST_ELEMENTS else None
        if tensor is not None and digest is not None:
            groups[tensor.dtype, tuple(tensor.shape.numpy()), digest].append(value)
    return groups


def _share(values: list[ir.Value], main: ir.Graph, names: set[str]) -> int:
    """Keep one of `values`, in the main graph; the others' readers read that one."""
    keeper = next((v for v in values if v.graph is main), values[0])
    others = [v for v in values if v is not keeper and v.graph is not main]
    if keeper.graph is not main:
        _move(keeper, main, names)
    for value in others:
        assert isinstance(value.graph, ir.Graph)
        assert value.name is not None
        owner = value.graph
        value.replace_all_uses_with(keeper)
        del owner.initializers[value.name]
    return len(others)


def _move(value: ir.Value, main: ir.Graph, names: set[str]) -> None:
    assert isinstance(value.graph, ir.Graph)
    assert value.name is not None
    del value.graph.initializers[value.name]
    taken = names - {value.name} if value.name not in main.initializers else names
    value.name = fresh_name(taken, value.name)
    names.add(value.name)
    main.register_initializer(value)
