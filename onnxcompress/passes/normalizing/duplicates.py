"""Equal initializers of one graph become one, in the order in which they were stored.

A float tensor that holds one number throughout (a bias of zeros, a gain of ones) is not merged: such tensors cost
little, and two layers that merely start alike would be tied to each other in training. Texts are left as well.
Contents are read as stored, so packed 4-bit weights are compared without being unpacked. A pass that must change
a shared weight for one of its readers only (pruning, batch-norm folding) gives that reader a copy.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.normalizing.constants import allows_constants, graphs

# A piece of a tensor that is hashed at a time; bounds what an external tensor brings into memory.
_CHUNK_BYTES = 1 << 24


def merge_duplicates(model: ir.Model) -> int:
    """Let equal initializers share one; returns how many were dropped."""
    return sum(_merge(graph) for graph in graphs(model)) if allows_constants(model) else 0


def _merge(graph: ir.Graph) -> int:
    return sum(_share(alike, graph) for alike in candidates(graph) if len(alike) > 1)


def candidates(graph: ir.Graph) -> list[list[ir.Value]]:
    """Initializers grouped by type and shape, before any content is read."""
    groups: dict[tuple[ir.DataType, tuple[int, ...]], list[ir.Value]] = defaultdict(list)
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is None or value.is_graph_input() or value.is_graph_output() or tensor.dtype.is_string():
            continue
        groups[tensor.dtype, tuple(tensor.shape.numpy())].append(value)
    return list(groups.values())


def _share(alike: list[ir.Value], graph: ir.Graph) -> int:
    first: dict[bytes, ir.Value] = {}
    dropped = 0
    for value in alike:
        digest = digest_of(value)
        keeper = None if digest is None else first.setdefault(digest, value)
        if keeper is None or keeper is value:
            continue
        assert value.name is not None
        value.replace_all_uses_with(keeper)
        del graph.initializers[value.name]
        dropped += 1
    return dropped


def digest_of(value: ir.Value) -> bytes | None:
    """A hash of the stored bytes; None for a float tensor of one number throughout."""
    tensor = value.const_value
    assert tensor is not None
    array = np.ascontiguousarray(tensor.numpy()).reshape(-1)
    if tensor.dtype.is_floating_point() and (array.size == 0 or not np.any(array != array[0])):
        return None
    return _hash(array.view(np.uint8))


def _hash(stored: np.ndarray) -> bytes:
    digest = hashlib.sha256()
    for start in range(0, stored.size, _CHUNK_BYTES):
        digest.update(stored[start : start + _CHUNK_BYTES].data)
    return digest.digest()
