"""Steps of random models that move, pool or resample data; none of them has weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.testing.random_builder import Builder


def concat(b: Builder) -> ir.Value | None:
    """Concat along axis 1 of tensors that agree elsewhere."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    fitting = [v for v, s in b.alive.items() if (s[0], *s[2:]) == (shape[0], *shape[2:])]
    others = [fitting[int(i)] for i in b.rng.integers(len(fitting), size=b.among(1, 2))]
    channels = shape[1] + sum(b.alive[v][1] for v in others)
    if channels > 32:
        return None
    (y,) = b.node("Concat", [x, *others], axis=1)
    return b.keep(y, (shape[0], channels, *shape[2:]))


def split(b: Builder) -> ir.Value | None:
    """Split along axis 1 into two parts."""
    if (found := b.pick()) is None or found[1][1] < 2:
        return None
    x, shape = found
    cut = int(b.rng.integers(1, shape[1]))
    first, second = b.node("Split", [x, b.ints(cut, shape[1] - cut)], outputs=2, axis=1)
    b.keep(first, (shape[0], cut, *shape[2:]))
    return b.keep(second, (shape[0], shape[1] - cut, *shape[2:]))


def slices(b: Builder) -> ir.Value | None:
    """Slice along any axis but the batch."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    axis = int(b.rng.integers(1, len(shape)))
    start = int(b.rng.integers(shape[axis]))
    (y,) = b.node("Slice", [x, b.ints(start), b.ints(shape[axis]), b.ints(axis)])
    return b.keep(y, (*shape[:axis], shape[axis] - start, *shape[axis + 1 :]))


def gather(b: Builder) -> ir.Value | None:
    """Gather channels in a new order, some of them twice."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    picked = b.rng.integers(shape[1], size=int(b.rng.integers(1, shape[1] + 1)))
    (y,) = b.node("Gather", [x, b.ints(*picked)], axis=1)
    return b.keep(y, (shape[0], len(picked), *shape[2:]))


def flatten(b: Builder) -> ir.Value | None:
    """Flatten to a matrix, by Flatten or by a Reshape whose target is computed from the batch."""
    if (found := b.pick(b.among(3, 4))) is None or np.prod(found[1][1:]) > 256:
        return None
    x, shape = found
    way = b.among("Flatten", "constant", "computed")
    if way == "Flatten":
        (y,) = b.node("Flatten", [x])
    else:
        (y,) = b.node("Reshape", [x, b.ints(0, -1) if way == "constant" else _computed_target(b, x)])
    return b.keep(y, (shape[0], int(np.prod(shape[1:]))))


def _computed_target(b: Builder, x: ir.Value) -> ir.Value:
    (shape,) = b.node("Shape", [x])
    (batch,) = b.node("Gather", [shape, b.ints(0)], axis=0)
    (target,) = b.node("Concat", [batch, b.ints(-1)], axis=0)
    return target


def transpose(b: Builder) -> ir.Value | None:
    """Transpose of a rank-3 tensor's last two axes."""
    if (found := b.pick(3)) is None:
        return None
    (y,) = b.node("Transpose", [found[0]], perm=[0, 2, 1])
    return b.keep(y, (found[1][0], found[1][2], found[1][1]))


def to_sequence(b: Builder) -> ir.Value | None:
    """An image as a sequence of pixels: (N, C, H, W) to (N, H W, C)."""
    if (found := b.pick(4)) is None:
        return None
    x, (n, c, h, w) = found
    (flat,) = b.node("Reshape", [x, b.ints(0, c, h * w)])
    (y,) = b.node("Transpose", [flat], perm=[0, 2, 1])
    return b.keep(y, (n, h * w, c))


def unsqueeze(b: Builder) -> ir.Value | None:
    """A matrix as a sequence of length 1, or a sequence of length 1 as a matrix."""
    if (found := b.pick(b.among(2, 3))) is None:
        return None
    x, shape = found
    if len(shape) == 2:
        (y,) = b.node("Unsqueeze", [x, b.ints(1)])
        return b.keep(y, (shape[0], 1, shape[1]))
    if shape[1] != 1:
        return None
    (y,) = b.node("Squeeze", [x, b.ints(1)])
    return b.keep(y, (shape[0], shape[2]))


def pool(b: Builder) -> ir.Value | None:
    """MaxPool, AveragePool, or GlobalAveragePool."""
    if (found := b.pick(4)) is None or min(found[1][2:]) < 2:
        return None
    x, (n, c, h, w) = found
    kind = b.among("MaxPool", "AveragePool", "GlobalAveragePool")
    if kind == "GlobalAveragePool":
        (y,) = b.node(kind, [x])
        return b.keep(y, (n, c, 1, 1))
    (y,) = b.node(kind, [x], kernel_shape=[2, 2], strides=[2, 2])
    return b.keep(y, (n, c, h // 2, w // 2))


def reduce(b: Builder) -> ir.Value | None:
    """ReduceMean over the last axis, kept."""
    if (found := b.pick(b.among(3, 4))) is None:
        return None
    if b.opset >= 18:  # from there on the axes are an input
        (y,) = b.node("ReduceMean", [found[0], b.ints(-1)], keepdims=1)
    else:
        (y,) = b.node("ReduceMean", [found[0]], keepdims=1, axes=[-1])
    return b.keep(y, (*found[1][:-1], 1))


def resize(b: Builder) -> ir.Value | None:
    """Resize to twice the size, nearest neighbour."""
    if (found := b.pick(4)) is None or max(found[1][2:]) > 8:
        return None
    x, (n, c, h, w) = found
    scales = b.constant(np.asarray([1, 1, 2, 2], dtype=np.float32), "k")
    (y,) = b.node(
        "Resize", [x, None, scales], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    return b.keep(y, (n, c, 2 * h, 2 * w))


def pad(b: Builder) -> ir.Value | None:
    """Pad the last axis with zeros or by reflection."""
    if (found := b.pick(b.among(3, 4))) is None or found[1][-1] < 2 or found[1][-1] > 16:
        return None
    x, shape = found
    zeros = [0] * (len(shape) - 1)
    (y,) = b.node("Pad", [x, b.ints(*zeros, 1, *zeros, 1)], mode=b.among("constant", "reflect"))
    return b.keep(y, (*shape[:-1], shape[-1] + 2))
