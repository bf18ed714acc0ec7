"""Which layers may take a pattern N:M, and why the others may not."""

from __future__ import annotations

from onnxcompress.passes.sparsifying.layout import groups_along, output_axis, reduction_axis
from onnxcompress.passes.sparsifying.n_m import NM
from onnxcompress.passes.sparsifying.weights import Weight
from onnxcompress.targets import Target


def unfit(weight: Weight, pattern: NM, target: Target) -> str:
    """Why `weight` cannot take `pattern`, or would take it in vain on `target`; empty where it can.

    A target that runs a pattern faster says for which operators and sizes. On other targets, and for other patterns,
    it is enough that the groups divide the input channels.
    """
    shape = tuple(int(d) for d in weight.numbers().shape)
    axis = reduction_axis(weight.node, weight.slot, len(shape))
    if axis is None:
        return f"{weight.node.op_type} has no single axis of input channels"
    inputs = shape[axis] // groups_along(weight.node)
    if inputs % pattern.m:
        return f"its {inputs} input channels are no multiple of {pattern.m}"
    if str(pattern) != target.sparse_pattern:
        return ""
    if weight.node.op_type not in target.sparse_ops:
        return f"{target.name} has no sparse kernel for {weight.node.op_type}"
    other = output_axis(weight.node, weight.slot, len(shape))
    outputs = inputs if other is None else shape[other]
    if inputs % target.sparse_input_multiple:
        return f"its {inputs} input channels are no multiple of {target.sparse_input_multiple}, as {target.name} needs"
    if outputs % target.sparse_output_multiple:
        return f"its {outputs} outputs are no multiple of {target.sparse_output_multiple}, as {target.name} needs"
    return ""
