"""Data movement: run the op on the marks themselves, and read where each scale went."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, tensor_of
from onnxcompress.passes.normalizing.evaluation import evaluate
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.quantization.equalization.marks import Marks

MOVEMENT = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
_RESHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_EXACT = 1 << 24  # atoms that float32 tells apart; kernels of movement ops exist for float32 everywhere
_LONGEST = 100  # tensors between an index and the shapes that it comes from
_LARGEST = 1 << 26  # elements of the array that stands for a tensor


def moved(found: Marks, node: ir.Node) -> None:
    """Marks of the outputs of an op that moves its first input."""
    if tensor_of(node.inputs[0]) is not None or not found.free(found.of(node, 0)):
        return
    results = _results(found, node)
    if results is None:
        found.freeze(found.of(node, 0))
        return
    for index, ids in enumerate(results):
        found.put(node, ids, index)


def _results(found: Marks, node: ir.Node) -> list[Ids] | None:
    shape, ids = found.shape(node.inputs[0]), found.of(node, 0)
    if shape is None or np.prod(shape) > _LARGEST or len(found.atoms) > _EXACT:
        return None
    if node.op_type == "Transpose":
        return [ids.transpose(attribute(node, "perm", list(range(ids.ndim))[::-1]))]
    whole = np.broadcast_to(ids, shape)
    if node.op_type in _RESHAPING:
        after = found.shape(node.outputs[0])
        return None if after is None or np.prod(after) != whole.size else [whole.reshape(after)]
    return _run(found, node, whole)


def _run(found: Marks, node: ir.Node, whole: Ids) -> list[Ids] | None:
    tensors: list[ir.TensorProtocol | None] = [ir.tensor(whole.astype(np.float32))]
    for value in node.inputs[1:]:
        numbers = None if value is None or not _from_shapes(value) else found.table.value(value.name)
        tensor = tensor_of(value) or (None if numbers is None else ir.tensor(numbers))
        if value is not None and tensor is None:
            return None
        tensors.append(tensor)
    made = evaluate(node, tensors, found.model, (ir.DataType.FLOAT,))
    return None if made is None else [tensor.numpy().astype(np.int64) for tensor in made]


def _from_shapes(value: ir.Value) -> bool:
    """Whether an index comes from sizes and constants alone, so that it is the same for every sample."""
    waiting, seen = [value], set[ir.Value]()
    while waiting:
        each = waiting.pop()
        node = each.producer()
        if tensor_of(each) is not None or each in seen:
            continue
        seen.add(each)
        if node is None or len(seen) > _LONGEST:
            return False
        waiting += [] if node.op_type in ("Shape", "Size") else [v for v in node.inputs if v is not None]
    return True


def concat(found: Marks, node: ir.Node) -> None:
    """Concat: the scales follow each other along its axis."""
    sizes = [found.shape(value) for value in node.inputs]
    parts = [found.of(node, i) for i in range(len(node.inputs))]
    if any(size is None or not size for size in sizes):
        found.freeze_inputs(node)
        return
    axis = int(attribute(node, "axis", 0)) % parts[0].ndim
    common = np.broadcast_shapes(*(_without(ids.shape, axis) for ids in parts))
    wide = [
        np.broadcast_to(ids, (*common[:axis], size[axis], *common[axis + 1 :]))
        for ids, size in zip(parts, sizes, strict=True)
        if size is not None
    ]
    found.put(node, np.concatenate(wide, axis=axis))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], 1, *shape[axis + 1 :])
