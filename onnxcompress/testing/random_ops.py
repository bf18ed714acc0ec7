"""Steps of random models that compute: each appends a few nodes, or nothing where no live tensor fits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.testing.random_builder import Builder


def conv(b: Builder) -> ir.Value | None:
    """Conv: plain, grouped or depthwise; strided, padded, dilated; with and without a bias."""
    if (found := b.pick(4)) is None:
        return None
    x, (n, c, h, w) = found
    groups = b.among(1, 1, c, 2 if c % 2 == 0 else 1)
    out = groups * int(b.rng.integers(1, 5))
    kernel, pad, stride = b.among(1, 3), b.among(0, 1), b.among(1, 1, 2)
    size = [(d + 2 * pad - kernel) // stride + 1 for d in (h, w)]
    if min(size) < 1 or min(h, w) + 2 * pad < kernel:
        return None
    weights = b.normal(out, c // groups, kernel, kernel, scale=(c // groups * kernel**2) ** -0.5)
    inputs = [x, weights, *([b.normal(out)] if b.chance(0.5) else [])]
    (y,) = b.node("Conv", inputs, group=groups, pads=[pad] * 4, strides=[stride] * 2, kernel_shape=[kernel] * 2)
    return b.keep(y, (n, out, *size))


def shared_conv(b: Builder) -> ir.Value | None:
    """Two 1x1 Convs that read one weight."""
    if (found := b.pick(4)) is None:
        return None
    x, (n, c, h, w) = found
    weights = b.normal(c, c, 1, 1, scale=c**-0.5)
    (first,) = b.node("Conv", [x, weights])
    (relu,) = b.node("Relu", [first])
    (second,) = b.node("Conv", [relu, weights])
    b.keep(relu, (n, c, h, w))
    return b.keep(second, (n, c, h, w))


def conv_transpose(b: Builder) -> ir.Value | None:
    """ConvTranspose with one or two groups."""
    if (found := b.pick(4)) is None or max(found[1][2:]) > 16:
        return None
    x, (n, c, h, w) = found
    groups = b.among(1, 2 if c % 2 == 0 else 1)
    per_group, stride = int(b.rng.integers(1, 4)), b.among(1, 2)
    weights = b.normal(c, per_group, 2, 2, scale=(4 * c) ** -0.5)
    inputs = [x, weights, *([b.normal(groups * per_group)] if b.chance(0.5) else [])]
    (y,) = b.node("ConvTranspose", inputs, group=groups, strides=[stride, stride])
    return b.keep(y, (n, groups * per_group, (h - 1) * stride + 2, (w - 1) * stride + 2))


def batchnorm(b: Builder) -> ir.Value | None:
    """BatchNormalization at inference."""
    if (found := b.pick(b.among(4, 2))) is None:
        return None
    x, shape = found
    c = shape[1]
    (y,) = b.node("BatchNormalization", [x, b.normal(c), b.normal(c), b.normal(c), b.positive(c)], epsilon=1e-3)
    return b.keep(y, shape)


def conv_batchnorm(b: Builder) -> ir.Value | None:
    """Conv, BatchNormalization and Relu, where nothing else reads what lies between."""
    if (middle := conv(b)) is None:
        return None
    shape = b.alive.pop(middle)
    c = shape[1]
    (y,) = b.node("BatchNormalization", [middle, b.normal(c), b.normal(c), b.normal(c), b.positive(c)], epsilon=1e-3)
    (relu,) = b.node("Relu", [y])
    return b.keep(relu, shape)


def layernorm(b: Builder) -> ir.Value | None:
    """LayerNormalization over the last axis."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    (y,) = b.node("LayerNormalization", [x, b.positive(shape[-1]), b.normal(shape[-1])], axis=-1)
    return b.keep(y, shape)


def gemm(b: Builder) -> ir.Value | None:
    """Gemm with its factors and both orders of the weights."""
    if (found := b.pick(2)) is None:
        return None
    x, (n, f) = found
    out, transposed = int(b.rng.integers(1, 9)), b.chance(0.5)
    weights = b.normal(*((out, f) if transposed else (f, out)), scale=f**-0.5)
    inputs = [x, weights, *([b.normal(out)] if b.chance(0.7) else [])]
    (y,) = b.node("Gemm", inputs, transB=int(transposed), alpha=b.among(1.0, 0.5), beta=b.among(1.0, 2.0))
    return b.keep(y, (n, out))


def matmul(b: Builder) -> ir.Value | None:
    """MatMul by a constant, with a bias added now and then."""
    if (found := b.pick(b.among(2, 3))) is None:
        return None
    x, shape = found
    out = int(b.rng.integers(1, 9))
    (y,) = b.node("MatMul", [x, b.normal(shape[-1], out, scale=shape[-1] ** -0.5)])
    if b.chance(0.5):
        (y,) = b.node("Add", [y, b.normal(out)])
    return b.keep(y, (*shape[:-1], out))


def attention(b: Builder) -> ir.Value | None:
    """Softmax(x xT) x: a product of two computed tensors."""
    if (found := b.pick(3)) is None:
        return None
    x, shape = found
    (turned,) = b.node("Transpose", [x], perm=[0, 2, 1])
    (scores,) = b.node("MatMul", [x, turned])
    (weights,) = b.node("Softmax", [scores], axis=-1)
    (y,) = b.node("MatMul", [weights, x])
    return b.keep(y, shape)


def residual(b: Builder) -> ir.Value | None:
    """A sum of two live tensors of one shape, or a gate."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    alike = [v for v, s in b.alive.items() if s == shape]
    other = alike[int(b.rng.integers(len(alike)))]
    (gate,) = b.node("Sigmoid", [other])
    (y,) = b.node(*b.among(("Add", [x, other]), ("Sub", [x, other]), ("Mul", [x, gate])))
    return b.keep(y, shape)


def broadcast(b: Builder) -> ir.Value | None:
    """Arithmetic with a constant: one number, or one a channel."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    per_channel = (shape[1], *[1] * (len(shape) - 2))
    constant = b.positive(*b.among((), (1,), per_channel))
    (y,) = b.node(b.among("Add", "Mul", "Sub", "Div"), [x, constant])
    return b.keep(y, shape)


def activation(b: Builder) -> ir.Value | None:
    """An elementwise function."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    kinds = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Elu", "Erf", "Identity", "Dropout", "Neg", "Abs")
    (y,) = b.node(b.among(*kinds), [x])
    return b.keep(y, shape)


def clip(b: Builder) -> ir.Value | None:
    """Clip to [0, 6], its bounds constants."""
    if (found := b.pick()) is None:
        return None
    bounds: list[ir.Value | None] = [b.constant(np.asarray(v, dtype=np.float32)) for v in (0.0, 6.0)]
    (y,) = b.node("Clip", [found[0], *bounds])
    return b.keep(y, found[1])


def softmax(b: Builder) -> ir.Value | None:
    """Softmax over the last axis."""
    if (found := b.pick()) is None:
        return None
    (y,) = b.node("Softmax", [found[0]], axis=-1)
    return b.keep(y, found[1])


def recurrent(b: Builder) -> ir.Value | None:
    """LSTM or GRU over a sequence, forward or in both directions."""
    if (found := b.pick(3)) is None:
        return None
    x, (n, steps, features) = found
    kind, gates = b.among(("LSTM", 4), ("GRU", 3))
    hidden, direction, ways = b.among((3, "forward", 1), (2, "bidirectional", 2))
    (turned,) = b.node("Transpose", [x], perm=[1, 0, 2])
    weights = [b.normal(ways, gates * hidden, size, scale=size**-0.5) for size in (features, hidden)]
    inputs = [turned, *weights, b.normal(ways, 2 * gates * hidden)]
    (y,) = b.node(kind, inputs, hidden_size=hidden, direction=direction)
    (back,) = b.node("Transpose", [y], perm=[2, 0, 1, 3])
    (flat,) = b.node("Reshape", [back, b.ints(0, 0, ways * hidden)])
    return b.keep(flat, (n, steps, ways * hidden))


def branch(b: Builder) -> ir.Value | None:
    """An If whose branches read a tensor of the outer scope; its condition is settled now and then."""
    if (found := b.pick()) is None:
        return None
    x, shape = found
    bodies = [_body(b, x, op) for op in ("Relu", "Tanh")]
    condition = b.constant(np.asarray(b.chance(0.5)), "k") if b.chance(0.5) else _condition(b, x)
    (y,) = b.node("If", [condition], then_branch=bodies[0], else_branch=bodies[1])
    return b.keep(y, shape)


def _body(b: Builder, x: ir.Value, op_type: str) -> ir.Graph:
    kind = ir.TensorType(ir.DataType.FLOAT)
    out = ir.Value(name=b.name("v"), type=kind)
    node = ir.Node("", op_type, [x], outputs=[out], name=b.name("node"))
    return ir.Graph([], [out], nodes=[node], name=b.name("body"))


def _condition(b: Builder, x: ir.Value) -> ir.Value:
    (mean,) = b.node("ReduceMax", [x], keepdims=0)
    (condition,) = b.node("Greater", [mean, b.constant(np.asarray(0.5, dtype=np.float32))])
    return condition
