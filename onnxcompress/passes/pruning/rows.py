"""Lists that differ from row to row (`Joint`), through ops that work element by element or sum over an axis.

Where two such tensors meet, their atoms meet row by row. Where one meets something that varies along its free axis
alone (one constant for all rows), the rows may no longer choose for themselves: it is pinned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from onnxcompress.passes.pruning.products import Joint, Split
from onnxcompress.passes.pruning.trace import Trace


def shifted(joints: Iterable[Joint], by: int) -> tuple[Joint, ...]:
    """The same joints in a tensor with `by` more axes in front."""
    return tuple(Joint(j.ids, tuple(a + by for a in j.axes), None if j.free is None else j.free + by) for j in joints)


def through(found: Trace, node: ir.Node, axes: Mapping[int, int], index: int = 0, output: int = 0) -> None:
    """Pass the joints of an input on; what loses an axis other than the summed free one is pinned.

    Args:
        found: The trace.
        node: The node.
        axes: Output axis by input axis; an axis that is missing is summed over, whose order does not matter.
        index: The input.
        output: The output.
    """
    passed: list[Joint] = []
    for joint in found.joints_of(node, index):
        if all(axis in axes for axis in joint.axes):
            free = None if joint.free is None else axes[joint.free]
            passed.append(Joint(joint.ids, tuple(axes[axis] for axis in joint.axes), free))
        elif joint.free is None or joint.free in axes:
            found.pin([joint])
        else:
            found.splits.append(Split(joint.ids, (), joint.axes.index(joint.free)))
    found.joints[node.outputs[output]] = tuple(passed)


def met(found: Trace, node: ir.Node, indices: list[int], rank: int) -> tuple[Joint, ...]:
    """Joints of the result of a broadcast over the inputs `indices`, of the given rank."""
    shapes = {i: found.shape_of(node, i) for i in indices}
    each = {i: shifted(found.joints_of(node, i), rank - len(shapes[i])) for i in indices}
    result: list[Joint] = []
    for i in indices:
        for joint in each[i]:
            others = [j for j in indices if j != i and node.inputs[j] not in found.uniform]
            fits = [_meets(found, joint, each[j], shapes[j], rank) for j in others]
            if not all(fits):
                found.pin([joint])
            twins = [known for known in result if known.axes == joint.axes]
            if not twins:
                result.append(joint)
            elif twins[0] in each[i]:
                found.pin([joint])
    return tuple(result)


def _meets(found: Trace, joint: Joint, others: tuple[Joint, ...], shape: tuple[int, ...], rank: int) -> bool:
    """Whether the joint's rows stay free beside an operand of this shape."""
    for other in others:
        if other.axes == joint.axes and other.ids.shape == joint.ids.shape:
            found.atoms.unify(joint.ids.ravel(), other.ids.ravel())
            return True
    at = (joint.free or 0) - (rank - len(shape))
    return joint.free is not None and (at < 0 or shape[at] == 1)
