"""Bounds, sizes, pads and indices of ops that pick along a cut axis are computed anew from the labels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.rewrite import hand_out, inserted, listed, set_entries, write
from onnxcompress.passes.pruning.surgery import Cut


def fix_split(cut: Cut, node: ir.Node) -> None:
    """Split: the parts of a cut axis are as long as what is kept of them."""
    data = node.inputs[0]
    shape = cut.found.shape(data) if data is not None else None
    if shape is None:
        return
    axis = int(attribute(node, "axis", 0)) % len(shape)
    if axis not in cut.input_sizes(node, 0):
        return
    sizes = [cut.sizes(v).get(axis, (0, (cut.found.shape(v) or shape)[axis]))[1] for v in node.outputs]
    node.attributes.pop("num_outputs", None)
    if cut.found.model.graph.opset_imports.get("", 13) < 13:
        node.attributes["split"] = ir.AttrInt64s("split", sizes)
    elif len(node.inputs) > 1 and node.inputs[1] is not None:
        write(cut, node, 1, np.array(sizes, np.int64))
    else:
        node.resize_inputs(2)
        node.replace_input_with(1, cut.initializer(f"{node.outputs[0].name}_split", np.array(sizes, np.int64)))


def fix_slice(cut: Cut, node: ir.Node) -> None:
    """Bounds on a cut axis become those of the kept channels; uneven picks become a Gather before."""
    data = node.inputs[0]
    shape = cut.found.shape(data) if data is not None else None
    if shape is None or not (changed := cut.input_sizes(node, 0)):
        return
    axes = [int(a) % len(shape) for a in listed(cut, node, "axes", 3, range(len(shape)))]
    starts = [int(v) for v in listed(cut, node, "starts", 1, ())]
    ends = [int(v) for v in listed(cut, node, "ends", 2, ())]
    steps = [int(v) for v in listed(cut, node, "steps", 4, [1] * len(axes))]
    new: dict[int, tuple[int, int]] = {}
    for at, axis in enumerate(axes[: len(starts)]):
        if axis in changed:
            ids = cut.found.known(node, 0)[axis]
            assert ids is not None
            rank = np.concatenate([[0], np.cumsum(cut.stays(ids))])
            begin, stop, step = slice(starts[at], ends[at], steps[at]).indices(len(ids))
            if step != 1:
                picked = np.arange(len(ids))[slice(starts[at], ends[at], steps[at])]
                _pick(cut, node, axis, rank[picked[cut.stays(ids[picked])]])
                new[at] = (0, np.iinfo(np.int64).max)
                set_entries(cut, node, "steps", 4, {at: 1})
            else:
                new[at] = (int(rank[begin]), int(rank[max(begin, stop)]))
    set_entries(cut, node, "starts", 1, {at: pair[0] for at, pair in new.items()})
    set_entries(cut, node, "ends", 2, {at: pair[1] for at, pair in new.items()})


def _pick(cut: Cut, node: ir.Node, axis: int, positions: np.ndarray) -> None:
    indices = cut.initializer(f"{node.outputs[0].name}_channels", positions.astype(np.int64))
    value = inserted(cut, node, "Gather", [node.inputs[0], indices], f"{node.outputs[0].name}_picked")
    producer = value.producer()
    assert producer is not None
    producer.attributes["axis"] = ir.AttrInt64("axis", axis)
    value.type = node.inputs[0].type if node.inputs[0] is not None else None
    node.replace_input_with(0, value)


def fix_pad(cut: Cut, node: ir.Node) -> None:
    """Padded positions of a cut axis are counted anew; cropped ones too."""
    changed, shape = cut.sizes(node.outputs[0]), cut.found.shape(node.outputs[0])
    pads = listed(cut, node, "pads", 1, ())
    axes = listed(cut, node, "axes", 3, range(len(shape or ())))
    entries: dict[int, int] = {}
    for at, axis in enumerate(int(a) % len(shape or ()) for a in axes):
        before, after = int(pads[at]), int(pads[at + len(axes)])
        out, data = cut.found.labels[node.outputs[0]][axis], cut.found.known(node, 0)[axis]
        if (axis in changed or axis in cut.input_sizes(node, 0)) and out is not None and data is not None:
            for place, count, ends in (
                (at, before, slice(0, abs(before))),
                (at + len(axes), after, slice(-abs(after), None)),
            ):
                if count:
                    kept = int(cut.stays((out if count > 0 else data)[ends]).sum())
                    entries[place] = kept if count > 0 else -kept
    set_entries(cut, node, "pads", 1, entries)


def fix_gather(cut: Cut, node: ir.Node) -> None:
    """Constant indices into a cut axis become the new positions of what is kept."""
    data = node.inputs[0]
    rank = len(cut.found.shape(data) or ()) if data is not None else 0
    if data is None or not rank:
        return
    axis = int(attribute(node, "axis", 0)) % rank
    ids = cut.found.known(node, 0)[axis]
    indices = cut.found.concrete(node, 1)
    if ids is None or indices is None or cut.stays(ids).all():
        return
    out = cut.found.labels[node.outputs[0]]
    masks = [np.ones(n, bool) if (o := out[axis + a]) is None else cut.stays(o) for a, n in enumerate(indices.shape)]
    picked = indices[np.ix_(*masks)] if indices.ndim else indices
    position = np.cumsum(cut.stays(ids)) - 1
    write(cut, node, 1, np.asarray(position[picked % len(ids)], indices.dtype))


def fix_shuffles(cut: Cut) -> None:
    """What a shuffle takes of a cut axis becomes one Gather; its own nodes fall dead."""
    for value, pick in cut.found.shortcuts.items():
        ids, maker = cut.found.labels[pick.source][pick.axis], value.producer()
        if ids is None or maker is None or cut.stays(ids).all():
            continue
        place = np.cumsum(cut.stays(ids)) - 1
        wanted = pick.indices[cut.stays(ids[pick.indices])]
        indices = cut.initializer(f"{value.name}_channels", place[wanted])
        taken = inserted(cut, maker, "Gather", [pick.source, indices], f"{value.name}_taken", after=True)
        gather = taken.producer()
        assert gather is not None
        gather.attributes["axis"] = ir.AttrInt64("axis", pick.axis)
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, taken)
        hand_out(value, taken)
