"""Axis equations of the linear ops: output channels are those of the weight, input channels meet its other axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.products import Joint
from onnxcompress.passes.pruning.rows import shifted
from onnxcompress.passes.pruning.rules_elementwise import aligned
from onnxcompress.passes.pruning.trace import Labels, Trace, constant_tensor
from onnxcompress.passes.pruning.walk import freeze_all


def _linear(found: Trace, node: ir.Node, index: int) -> None:
    use = found.use_of(node, index)
    if use is not None:
        use.linear = True


def conv(found: Trace, node: ir.Node) -> None:
    """Conv with W [O, C/g, ...]: dense, depthwise (with multiplier) or grouped."""
    convolve(found, node, 0, 1, 2)


def convolve(found: Trace, node: ir.Node, data: int, weight: int, bias: int | None) -> None:
    """A convolution whose operands stand at these inputs."""
    x, w = found.of(node, data), found.of(node, weight)
    shape, groups = found.shape_of(node, weight), int(attribute(node, "group", 1))
    _linear(found, node, weight)
    _fix_windows(found, node, [*x[2:], *w[2:]])
    if groups == 1:
        _meet(found, node, x[1], w[1], shape[1])
        found.term(node, 1.0, w[0], x[1])
    elif shape[1] == 1:
        _depthwise(found, node, x[1], w[0], shape[0] // groups)
        found.term(node, 1.0, w[0])
    else:
        _grouped(found, node, weight, x[1], groups)
        found.term(node, 1.0, w[0], x[1])
    if groups == 1 or shape[1] > 1:
        found.produce(node, "filter", w[0])
    _finish(found, node, w[0], shape[0], len(x), bias)


def _finish(found: Trace, node: ir.Node, out: Ids | None, size: int, rank: int, bias: int | None = 2) -> None:
    if bias is not None and found.has(node, bias) and size > 1:
        found.unify(node, out, found.of(node, bias)[0])
    found.put(node, 0, [None, out, *([None] * (rank - 2))])


def _fix_windows(found: Trace, node: ir.Node, lists: Labels) -> None:
    found.freeze(lists, node, "PRUNE-FROZEN-OP", "a window slides along this axis")


def _meet(found: Trace, node: ir.Node, data: Ids | None, weight: Ids | None, size: int) -> None:
    if size > 1:
        found.unify(node, data, weight)


def _depthwise(found: Trace, node: ir.Node, data: Ids | None, out: Ids | None, multiplier: int) -> None:
    """Each input channel makes `multiplier` outputs."""
    if out is not None:
        found.unify(node, None if data is None else np.repeat(data, multiplier), out)


def _grouped(found: Trace, node: ir.Node, weight: int, data: Ids | None, groups: int) -> None:
    """Every block keeps the same number of inputs and of outputs; which ones is free."""
    use = found.use_of(node, weight)
    if use is None or use.blocks or len(use.value.uses()) > 1:
        found.freeze(
            [data, *found.of(node, weight)], node, "PRUNE-FROZEN-OP", "a grouped convolution's weight is shared"
        )
        return
    use.labels[1] = None
    if data is not None:
        use.blocks[1] = found.atoms.fresh(len(data))
        found.unify(node, data, use.blocks[1])
    for ids in (use.blocks.get(1), use.labels[0]):
        _in_groups(found, node, ids, groups)


def _in_groups(found: Trace, node: ir.Node, ids: Ids | None, groups: int) -> None:
    """Each group keeps the same number of channels, its own ones."""
    if ids is None:
        return
    lists = found.divide(ids.reshape(groups, -1))
    found.freeze([ids] if lists is None else lists[:1], node, "PRUNE-FROZEN-OP", "it counts the groups")


def conv_transpose(found: Trace, node: ir.Node) -> None:
    """ConvTranspose with W [C, O/g, ...]."""
    x, w = found.of(node, 0), found.of(node, 1)
    shape, groups = found.shape_of(node, 1), int(attribute(node, "group", 1))
    _linear(found, node, 1)
    _fix_windows(found, node, [*x[2:], *w[2:]])
    _meet(found, node, x[1], w[0], shape[0])
    outputs = shape[1] * groups
    if groups == 1:
        out = w[1]
        found.produce(node, "filter", out)
        found.term(node, 1.0, x[1], out)
    elif shape[0] == groups:
        found.freeze([w[1]], node, "PRUNE-FROZEN-OP", "it counts the outputs of one input channel")
        out = None if x[1] is None else np.repeat(x[1], shape[1])
        found.term(node, 1.0, out)
    else:
        out = _transposed_groups(found, node, x[1], groups, outputs)
        found.produce(node, "filter", out)
        found.term(node, 1.0, x[1], out)
    _finish(found, node, out, outputs, len(x))


def _transposed_groups(found: Trace, node: ir.Node, data: Ids | None, groups: int, outputs: int) -> Ids | None:
    """Rows of W are inputs, in blocks; each block has its own outputs in the columns."""
    use = found.use_of(node, 1)
    _in_groups(found, node, data, groups)
    if use is None or use.blocks or len(use.value.uses()) > 1 or outputs == groups:
        found.freeze(found.of(node, 1)[1:2], node, "PRUNE-FROZEN-OP", "one output of each group")
        return None
    use.labels[1], use.blocks[1] = None, found.atoms.fresh(outputs)
    _in_groups(found, node, use.blocks[1], groups)
    return use.blocks[1]


def gemm(found: Trace, node: ir.Node) -> None:
    """Gemm: A' [m, k], B' [k, n], C broadcast."""
    a, b = found.of(node, 0), found.of(node, 1)
    sizes = found.shape_of(node, 1)
    if attribute(node, "transA", 0):
        a = a[::-1]
    if attribute(node, "transB", 0):
        b, sizes = b[::-1], sizes[::-1]
    _linear(found, node, 1)
    _meet(found, node, a[1], b[0], sizes[0])
    out: Labels = [a[0], b[1]]
    if node.inputs[1] in found.constants or found.use_of(node, 1) is not None:
        found.produce(node, "neuron", b[1])
    found.term(node, 1.0, a[0], b[0], b[1])
    if found.has(node, 2):
        shape = found.shape(node.outputs[0])
        if shape is not None:
            out = aligned(found, node, [out, found.of(node, 2)], [shape, found.shape_of(node, 2)])
    found.put(node, 0, out)


def matmul(found: Trace, node: ir.Node) -> None:
    """MatMul of a [..., m, k] and b [..., k, n]; vectors gain an axis that the result loses again."""
    product(found, node, 0, 1)


def product(found: Trace, node: ir.Node, left: int, right: int, swapped: tuple[bool, bool] = (False, False)) -> None:
    """A matrix product whose operands stand at these inputs, their last two axes swapped where that is said."""
    (a, sa), (b, sb) = (_operand(found, node, i, s) for i, s in zip((left, right), swapped, strict=True))
    vector_a, vector_b = len(sa) == 1, len(sb) == 1
    if vector_a:
        a, sa = [None, *a], (1, *sa)
    if vector_b:
        b, sb = [*b, None], (*sb, 1)
    _meet(found, node, a[-1], b[-2], sb[-2])
    for index, made in ((right, b[-1]), (left, a[-2])):
        if node.inputs[index] in found.constants or found.use_of(node, index) is not None:
            _linear(found, node, index)
            found.produce(node, "neuron", made)
    batch = aligned(found, node, [a[:-2], b[:-2]], [sa[:-2], sb[:-2]]) if max(len(sa), len(sb)) > 2 else []
    found.term(node, 1.0, *batch, a[-2], a[-1], b[-1])
    ends: Labels = ([] if vector_a else [a[-2]]) + ([] if vector_b else [b[-1]])
    found.put(node, 0, [*batch, *ends])
    joints = [*found.joints_of(node, left), *found.joints_of(node, right)]
    if node.op_type == "MatMul" and not vector_a and not vector_b:
        found.joints[node.outputs[0]] = _rows_of_product(found, node, len(batch))
    elif any(swapped) or node.op_type != "MatMul":
        found.pin(joints)


def _operand(found: Trace, node: ir.Node, index: int, swapped: bool) -> tuple[Labels, tuple[int, ...]]:
    labels, sizes = list(found.of(node, index)), found.shape_of(node, index)
    if swapped and len(sizes) > 1:
        return [*labels[:-2], labels[-1], labels[-2]], (*sizes[:-2], sizes[-1], sizes[-2])
    return labels, sizes


def _rows_of_product(found: Trace, node: ir.Node, batch: int) -> tuple[Joint, ...]:
    """Rows along a batch axis: summed positions meet row by row, the outer ones pass."""
    result: list[Joint] = []
    summed: list[list[Joint]] = []
    for index, inner in ((0, batch + 1), (1, batch)):
        shape = found.shape_of(node, index)
        mine = shifted(found.joints_of(node, index), batch + 2 - len(shape))
        summed.append([joint for joint in mine if inner in joint.axes])
        result += [joint for joint in mine if inner not in joint.axes]
    sums = [[(tuple(sorted(set(j.axes) - {inner})), j) for j in joints if j.free == inner]
            for joints, inner in zip(summed, (batch + 1, batch), strict=True)]  # fmt: skip
    if len(sums[0]) == len(summed[0]) == len(sums[1]) == len(summed[1]) and [r for r, _ in sums[0]] == [
        r for r, _ in sums[1]
    ]:
        for (rows, left), (_, right) in zip(*sums, strict=True):
            if all(axis < batch for axis in rows) and left.ids.shape == right.ids.shape:
                found.atoms.unify(left.ids.ravel(), right.ids.ravel())
            else:
                found.pin([left, right])
    else:
        found.pin([*summed[0], *summed[1]])
    return tuple(result)


def einsum(found: Trace, node: ir.Node) -> None:
    """Einsum: equal letters are one axis; a letter twice in one operand freezes."""
    equation = str(attribute(node, "equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if "." in equation or not arrow or any(len(set(term)) < len(term) for term in terms):
        freeze_all(found, node)
        return
    letters: dict[str, Labels] = {}
    for index, term in enumerate(terms):
        shape = found.shape_of(node, index)
        for letter, ids, size in zip(term, found.of(node, index), shape, strict=True):
            if size > 1:
                letters.setdefault(letter, []).append(ids)
    merged = {letter: found.unify(node, *lists) for letter, lists in letters.items()}
    for index in range(len(terms)):
        if found.use_of(node, index) is not None:
            _linear(found, node, index)
            for letter in sorted(set(terms[index]) & set(right)):
                found.produce(node, "neuron", merged.get(letter))
    found.term(node, 1.0, *merged.values())
    found.put(node, 0, [merged.get(letter) for letter in right])


def embedding(found: Trace, node: ir.Node) -> bool:
    """Gather by indices that are data: True where that is what the node does."""
    if found.concrete(node, 1) is not None and node.inputs[1] is not None and not _varies(found, node.inputs[1]):
        return False
    data = found.of(node, 0)
    axis = int(attribute(node, "axis", 0)) % len(data)
    found.freeze([data[axis]], node, "PRUNE-FROZEN-OP", "entries are looked up by data")
    width = len(found.shape_of(node, 1))
    if found.use_of(node, 0) is not None:
        _linear(found, node, 0)
        for ids in (*data[:axis], *data[axis + 1 :]):
            found.produce(node, "neuron", ids)
    found.put(node, 0, [*data[:axis], *([None] * width), *data[axis + 1 :]])
    return True


def _varies(found: Trace, value: ir.Value) -> bool:
    return constant_tensor(value) is None and value not in found.constants
