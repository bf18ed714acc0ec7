"""Small nets in ONNX text for tests of pruning: each stresses one way in which channels travel."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper


def net(text: str, shapes: dict[str, tuple[int, ...]], *, opset: int = 18, **given: np.ndarray) -> ir.Model:
    """The net of `text` with seeded normal weights of the given shapes, and arrays as they are."""
    rng = np.random.default_rng(7)
    header = f'<ir_version: 8, opset_import: ["": {opset}]>'
    proto = onnx.parser.parse_model(header + text)
    weights = {name: (rng.normal(size=shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}
    for name in weights:
        if name.startswith("var"):
            weights[name] = np.abs(weights[name]) + np.float32(0.5)
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in {**weights, **given}.items())
    onnx.checker.check_model(proto, full_check=True)
    return ir.from_proto(proto)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def scalar(number: int) -> np.ndarray:
    return np.array(number, np.int64)


IMAGE, LOGITS = "float[N,3,8,8] x", "float[N,5,A,B] y"
HEAD = {"w0": (8, 3, 3, 3), "b0": (8,), "wl": (5, 8, 1, 1)}


def _conv_net(body: str, shapes: dict[str, tuple[int, ...]], **given: np.ndarray) -> ir.Model:
    """A net that starts with a convolution to `a` (8 channels) and ends with one from `z` to 5 outputs."""
    opset = int(given.pop("opset", np.array(18)))
    text = f"g ({IMAGE}) => ({LOGITS}) {{ a = Conv<pads=[1,1,1,1]>(x, w0, b0) {body} y = Conv(z, wl) }}"
    return net(text, {**HEAD, **shapes}, opset=opset, **given)


def _dense(body: str, shapes: dict[str, tuple[int, ...]], given: dict[str, np.ndarray] | None = None) -> ir.Model:
    """A net over sequences [N, 6, 10] whose result is [N, 6, 4]."""
    return net(f"g (float[N,6,10] x) => (float[N,6,4] y) {{ {body} }}", shapes, **(given or {}))


def conv_bn_residual() -> ir.Model:
    body = (
        "n = BatchNormalization(a, g, b, m, var) r = Relu(n) c = Conv<pads=[1,1,1,1]>(r, w1) s = Add(c, a) z = Relu(s)"
    )
    vectors = dict.fromkeys(("g", "b", "m", "var"), (8,))
    return _conv_net(body, {"w1": (8, 8, 3, 3), **vectors})


def depthwise_multiplier() -> ir.Model:
    return _conv_net(
        "d = Conv<group=8>(a, w1, b1) z = Clip(d)", {"w1": (16, 1, 3, 3), "b1": (16,), "wl": (5, 16, 1, 1)}
    )


def grouped() -> ir.Model:
    return _conv_net(
        "r = Relu(a) z = Conv<group=2>(r, w1, b1)", {"w1": (12, 4, 3, 3), "b1": (12,), "wl": (5, 12, 1, 1)}
    )


def shuffle() -> ir.Model:
    body = (
        "c = Conv<group=2>(a, w1) r = Reshape(c, split) t = Transpose<perm=[0,2,1,3,4]>(r) s = Reshape(t, merge) "
        "z = Conv<group=2>(s, w2)"
    )
    given = {"split": ints(0, 2, 4, 8, 8), "merge": ints(0, 8, 8, 8)}
    return _conv_net(body, {"w1": (8, 4, 1, 1), "w2": (8, 4, 1, 1)}, **given)


def chunks() -> ir.Model:
    body = "p, q = Split<axis=1>(a, sizes) s = Sigmoid(q) u = Conv(p, w1) v = Conv(s, w2) z = Concat<axis=1>(u, v)"
    return _conv_net(body, {"w1": (4, 5, 1, 1), "w2": (4, 3, 1, 1)}, sizes=ints(5, 3))


def slices() -> ir.Model:
    body = (
        "p = Slice(a, zero, six, one) q = Slice(a, one, eight, one, two) c = Conv(p, w1) d = Conv(q, w2) "
        "z = Concat<axis=1>(c, d)"
    )
    given = {"zero": ints(0), "six": ints(6), "one": ints(1), "eight": ints(8), "two": ints(2)}
    return _conv_net(body, {"w1": (4, 6, 1, 1), "w2": (4, 4, 1, 1)}, **given)


def permuted() -> ir.Model:
    return _conv_net("r = Relu(a) z = Gather<axis=1>(r, order)", {}, order=ints(3, 0, 7, 1, -2, 2, 4, 5))


def focus() -> ir.Model:
    body = (
        "p = Slice(a, zero, end, axis, two) q = Slice(a, one, end, axis, two) c = Concat<axis=1>(p, q) z = Conv(c, w1)"
    )
    given = {"zero": ints(0), "one": ints(1), "end": ints(8), "axis": ints(2), "two": ints(2)}
    return _conv_net(body, {"w1": (8, 16, 1, 1)}, **given)


def channels_last() -> ir.Model:
    body = (
        "t = Transpose<perm=[0,2,3,1]>(a) f = Reshape(t, flat) h = MatMul(f, w1) i = Add(h, b1) "
        "l = LayerNormalization(i, g, b) k = Transpose<perm=[0,2,1]>(l) z = Reshape(k, back)"
    )
    given = {"flat": ints(0, -1, 8), "back": ints(0, 8, 8, 8)}
    return _conv_net(body, {"w1": (8, 8), "b1": (8,), "g": (8,), "b": (8,)}, **given)


def grouped_transposed() -> ir.Model:
    body = "z = ConvTranspose<group=2, strides=[2,2]>(a, w1, b1)"
    return _conv_net(body, {"w1": (8, 3, 2, 2), "b1": (6,), "wl": (5, 6, 1, 1)})


def transposed() -> ir.Model:
    return _conv_net("u = ConvTranspose<strides=[2,2]>(a, w1) z = ConvTranspose<group=8>(u, w2)",
                     {"w1": (8, 8, 2, 2), "w2": (8, 1, 2, 2)})  # fmt: skip


def group_norm() -> ir.Model:
    body = "n = GroupNormalization<num_groups=2>(a, g, b) z = Relu(n)"
    return _conv_net(body, {"g": (8,), "b": (8,)}, opset=np.array(21))


def instance_norm() -> ir.Model:
    return _conv_net("n = InstanceNormalization(a, g, b) z = PRelu(n, s)", {"g": (8,), "b": (8,), "s": (8, 1, 1)})


def shared_bias() -> ir.Model:
    body = "c = Conv(a, w1, b0) d = Conv(c, w2, b0) z = Relu(d)"
    return _conv_net(body, {"w1": (8, 8, 1, 1), "w2": (8, 8, 1, 1)})


def concat_on_batch() -> ir.Model:
    body = "s = Neg(a) z = Concat<axis=0>(a, s) y = Conv(z, wl)"
    text = f"g ({IMAGE}) => (float[M,5,8,8] y) {{ a = Conv<pads=[1,1,1,1]>(x, w0, b0) {body} }}"
    return net(text, HEAD)


def expanded() -> ir.Model:
    body = "h = ReduceMean<keepdims=1>(a, one) e = Expand(h, wide) c = Conv(e, w1) z = Add(c, a)"
    return _conv_net(body, {"w1": (8, 8, 1, 1)}, one=ints(1), wide=ints(1, 8, 1, 1))


def depth_to_space(mode: str) -> ir.Model:
    body = f'c = Conv(a, w1) r = Relu(c) z = DepthToSpace<blocksize=2, mode="{mode}">(r)'
    return _conv_net(body, {"w1": (16, 8, 1, 1), "wl": (5, 4, 1, 1)})


def space_to_depth() -> ir.Model:
    return _conv_net("z = SpaceToDepth<blocksize=2>(a)", {"wl": (5, 32, 1, 1)})


def padded_channels() -> ir.Model:
    body = "c = Conv(a, w1) p = Pad(a, pads) z = Add(c, p)"
    return _conv_net(body, {"w1": (12, 8, 1, 1), "wl": (5, 12, 1, 1)}, pads=ints(0, 2, 0, 0, 0, 2, 0, 0))


def gate() -> ir.Model:
    body = "p = GlobalAveragePool(a) c = Conv(p, w1) r = Relu(c) d = Conv(r, w2) s = HardSigmoid(d) z = Mul(a, s)"
    return _conv_net(body, {"w1": (4, 8, 1, 1), "w2": (8, 4, 1, 1)})


def flattened() -> ir.Model:
    text = (
        "g (float[N,3,4,4] x) => (float[N,5] y) { a = Conv<pads=[1,1,1,1]>(x, w0, b0) r = Relu(a) f = Flatten(r) "
        "h = Gemm<transB=1>(f, w1, b1) t = Tanh(h) y = Gemm<alpha=0.5>(t, w2) }"
    )
    return net(text, {"w0": (8, 3, 3, 3), "b0": (8,), "w1": (12, 128), "b1": (12,), "w2": (12, 5)})


def resized() -> ir.Model:
    body = 'r = Resize<mode="nearest">(a, , , sizes) z = MaxPool<kernel_shape=[2,2]>(r)'
    text = (
        f"g (float[2,3,8,8] x) => (float[2,5,A,B] y) {{ a = Conv<pads=[1,1,1,1]>(x, w0, b0) {body} y = Conv(z, wl) }}"
    )
    return net(text, HEAD, sizes=ints(2, 8, 16, 16))


def attention() -> ir.Model:
    """Two heads of five, whose sizes a shape sub-graph computes."""
    body = (
        "q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) "
        "sh = Shape(q) n = Gather(sh, i0) t = Gather(sh, i1) d = Gather(sh, i2) hd = Div(d, two) "
        "target = Concat<axis=0>(n, t, two, hd) "
        "qh = Reshape(q, target) kh = Reshape(k, target) vh = Reshape(v, target) "
        "qt = Transpose<perm=[0,2,1,3]>(qh) kt = Transpose<perm=[0,2,3,1]>(kh) vt = Transpose<perm=[0,2,1,3]>(vh) "
        "hf = Cast<to=1>(hd) root = Sqrt(hf) sc = MatMul(qt, kt) ss = Div(sc, root) p = Softmax(ss) o = MatMul(p, vt) "
        "ot = Transpose<perm=[0,2,1,3]>(o) flat = Concat<axis=0>(n, t, d) of = Reshape(ot, flat) "
        "h = MatMul(of, wo) y = Add(h, bo)"
    )
    given = {"i0": ints(0), "i1": ints(1), "i2": ints(2), "two": ints(2)}
    return _dense(body, {"wq": (10, 10), "wk": (10, 10), "wv": (10, 10), "wo": (10, 4), "bo": (4,)}, given)


def vit_block() -> ir.Model:
    """Packed q, k, v with a class token in front, residual stream, LayerNormalization, erf-GELU."""
    text = (
        "g (float[N,6,10] x) => (float[N,4] y) { e = MatMul(x, we) sh = Shape(x) n = Gather(sh, i0) "
        "cs = Concat<axis=0>(n, one, eight) ct = Expand(token, cs) j = Concat<axis=1>(ct, e) s0 = Add(j, pos) "
        "l = LayerNormalization(s0, g1, b1) qkv = MatMul(l, wqkv) q, k, v = Split<axis=2>(qkv, thirds) "
        "qh = Reshape(q, heads) kh = Reshape(k, heads) vh = Reshape(v, heads) "
        "qt = Transpose<perm=[0,2,1,3]>(qh) kt = Transpose<perm=[0,2,3,1]>(kh) vt = Transpose<perm=[0,2,1,3]>(vh) "
        "sc = MatMul(qt, kt) p = Softmax(sc) o = MatMul(p, vt) ot = Transpose<perm=[0,2,1,3]>(o) "
        "of = Reshape(ot, flat) pr = MatMul(of, wo) s1 = Add(s0, pr) l2 = LayerNormalization(s1, g2, b2) "
        "f = MatMul(l2, w1) fe = Erf(f) fm = Mul(f, fe) f2 = MatMul(fm, w2) s2 = Add(s1, f2) "
        "cls = Gather<axis=1>(s2, first) y = Gemm(cls, wh) }"
    )
    shapes = {"we": (10, 8), "token": (1, 1, 8), "pos": (1, 7, 8), "wqkv": (8, 24), "wo": (8, 8), "w1": (8, 16)}
    shapes |= {"w2": (16, 8), "wh": (8, 4), "g1": (8,), "b1": (8,), "g2": (8,), "b2": (8,)}
    given = {"i0": ints(0), "one": ints(1), "eight": ints(8), "thirds": ints(8, 8, 8), "heads": ints(0, 7, 2, 4)}
    return net(text, shapes, **given, flat=ints(0, 7, 8), first=scalar(0))


def tied_embedding() -> ir.Model:
    text = (
        "g (int64[N,6] x) => (float[N,6,20] y) { e = Gather(table, x) h = MatMul(e, w1) r = Relu(h) o = MatMul(r, w2) "
        "s = Add(e, o) t = Transpose<perm=[1,0]>(table) y = MatMul(s, t) }"
    )
    return net(text, {"table": (20, 8), "w1": (8, 12), "w2": (12, 8)})


def bidirectional() -> ir.Model:
    text = (
        "g (float[N,6,10] x) => (float[N,6,4] y) { t = Transpose<perm=[1,0,2]>(x) "
        'h, hn, cn = LSTM<hidden_size=8, direction="bidirectional">(t, w, r, b) p = Transpose<perm=[2,0,1,3]>(h) '
        "f = Reshape(p, flat) y = MatMul(f, w1) }"
    )
    return net(text, {"w": (2, 32, 10), "r": (2, 32, 8), "b": (2, 64), "w1": (16, 4)}, flat=ints(0, 0, -1))


def gru_with_made_state() -> ir.Model:
    text = (
        "g (float[N,6,10] x) => (float[N,4] y) { t = Transpose<perm=[1,0,2]>(x) s = Shape(x) n = Gather(s, i0) "
        "c = Concat<axis=0>(one, n, eight) h0 = ConstantOfShape(c) "
        "h, hn = GRU<hidden_size=8, linear_before_reset=1>(t, w, r, b, , h0) q = Squeeze(hn, i0) y = Gemm(q, w1) }"
    )
    shapes = {"w": (1, 24, 10), "r": (1, 24, 8), "b": (1, 48), "w1": (8, 4)}
    return net(text, shapes, i0=ints(0), one=ints(1), eight=ints(8))


def einsum() -> ir.Model:
    body = 'h = Einsum<equation="nti,io->nto">(x, w1) r = Relu(h) y = Einsum<equation="nto,op->ntp">(r, w2)'
    return _dense(body, {"w1": (10, 8), "w2": (8, 4)})


def quantized() -> ir.Model:
    """Int8 weights with scales by channel, an int32 bias, Q/DQ around activations."""
    rng = np.random.default_rng(3)
    body = (
        "q = QuantizeLinear(a, sa, za) d = DequantizeLinear(q, sa, za) w = DequantizeLinear<axis=0>(wq, sw, zw) "
        "b = DequantizeLinear<axis=0>(bq, sb) c = Conv(d, w, b) z = Relu(c)"
    )
    given = {
        "sa": np.array(0.05, np.float32),
        "za": np.array(100, np.uint8),
        "wq": rng.integers(-127, 127, (8, 8, 1, 1)).astype(np.int8),
        "sw": rng.uniform(0.01, 0.02, 8).astype(np.float32),
        "zw": np.zeros(8, np.int8),
        "bq": rng.integers(-300, 300, 8).astype(np.int32),
        "sb": rng.uniform(0.001, 0.002, 8).astype(np.float32),
    }
    return _conv_net(body, {}, **given)


def three_dimensional() -> ir.Model:
    text = "g (float[N,2,4,4,4] x) => (float[N,3,A,B,C] y) { a = Conv(x, w0, b0) r = Relu(a) y = Conv(r, w1) }"
    return net(text, {"w0": (6, 2, 2, 2, 2), "b0": (6,), "w1": (3, 6, 2, 2, 2)})


def rotary() -> ir.Model:
    body = (
        "q = MatMul(x, wq) k = MatMul(x, wk) a, b = Split<axis=2, num_outputs=2>(q) m = Neg(b) "
        "t = Concat<axis=2>(m, a) qc = Mul(q, cs) qs = Mul(t, sn) qr = Add(qc, qs) kt = Transpose<perm=[0,2,1]>(k) "
        "sc = MatMul(qr, kt) p = Softmax(sc) o = MatMul(p, x) y = MatMul(o, wo)"
    )
    return _dense(body, {"wq": (10, 8), "wk": (10, 8), "cs": (6, 8), "sn": (6, 8), "wo": (10, 4)})


def grouped_queries() -> ir.Model:
    """Four query heads share two key heads, repeated by Expand."""
    body = (
        "q = MatMul(x, wq) k = MatMul(x, wk) qh = Reshape(q, four) kh = Reshape(k, two) u = Unsqueeze(kh, at) "
        "e = Expand(u, twice) kr = Reshape(e, four) qt = Transpose<perm=[0,2,1,3]>(qh) "
        "kt = Transpose<perm=[0,2,3,1]>(kr) sc = MatMul(qt, kt) p = Softmax(sc) v = Transpose<perm=[0,2,1,3]>(kr) "
        "o = MatMul(p, v) ot = Transpose<perm=[0,2,1,3]>(o) f = Reshape(ot, flat) y = MatMul(f, wo)"
    )
    given = {"four": ints(0, 6, 4, 4), "two": ints(0, 6, 2, 4), "at": ints(3), "twice": ints(1, 1, 1, 2, 1)}
    return _dense(body, {"wq": (10, 16), "wk": (10, 8), "wo": (16, 4)}, {**given, "flat": ints(0, 6, 16)})


def two_free_sizes() -> ir.Model:
    """Batch and length both free, so that a Reshape target stays computed."""
    text = (
        "g (float[N,T,8] x) => (float[N,T,4] y) { q = MatMul(x, w0) s = Shape(x) n = Gather(s, i0) t = Gather(s, i1) "
        "split = Concat<axis=0>(n, t, two, four) r = Reshape(q, split) h = Tanh(r) "
        "merge = Concat<axis=0>(n, t, eight) f = Reshape(h, merge) y = MatMul(f, w1) }"
    )
    given = {"i0": ints(0), "i1": ints(1), "two": ints(2), "four": ints(4), "eight": ints(8)}
    return net(text, {"w0": (8, 8), "w1": (8, 4)}, **given)


def two_free_sizes_rest_inferred() -> ir.Model:
    """The merge names the width as -1, among sizes that are computed."""
    text = (
        "g (float[N,T,8] x) => (float[N,T,4] y) { q = MatMul(x, w0) s = Shape(x) n = Gather(s, i0) t = Gather(s, i1) "
        "split = Concat<axis=0>(n, t, two, four) r = Reshape(q, split) h = Tanh(r) "
        "merge = Concat<axis=0>(n, t, rest) f = Reshape(h, merge) y = MatMul(f, w1) }"
    )
    given = {"i0": ints(0), "i1": ints(1), "two": ints(2), "four": ints(4), "rest": ints(-1)}
    return net(text, {"w0": (8, 8), "w1": (8, 4)}, **given)


def token_for_every_sample() -> ir.Model:
    """A class token, expanded to a computed size whose other entries are one, before a sequence."""
    text = (
        "g (float[N,6,10] x) => (float[N,7,4] y) { h = MatMul(x, w0) s = Shape(x) n = Gather(s, i0) "
        "t = Concat<axis=0>(n, one, one) e = Expand(token, t) c = Concat<axis=1>(e, h) a = Add(c, places) "
        "y = MatMul(a, w1) }"
    )
    shapes = {"w0": (10, 8), "w1": (8, 4), "token": (1, 1, 8), "places": (1, 7, 8)}
    return net(text, shapes, i0=ints(0), one=ints(1))


def expanded_like() -> ir.Model:
    """A gate is expanded to the shape of what it gates; a constant of positions is sliced to a free length."""
    body = (
        "p = GlobalAveragePool(a) q = Conv(p, w1) g = Sigmoid(q) s = Shape(a) e = Expand(g, s) m = Mul(a, e) "
        "h = Slice(places, zero, one, axis) f = Cast<to=1>(h) z = Add(m, f)"
    )
    given = {"places": ints(*range(4)).reshape(1, 1, 1, 4), "zero": ints(0), "one": ints(1), "axis": ints(3)}
    return _conv_net(body, {"w1": (8, 8, 1, 1)}, **given)


def spatial_gate() -> ir.Model:
    body = (
        "m = ReduceMax(a, one) l = ReduceL2(a, one) s = Concat<axis=1>(m, l) c = Conv(s, w1) g = Sigmoid(c) "
        "z = Mul(a, g)"
    )
    return _conv_net(body, {"w1": (1, 2, 1, 1)}, one=ints(1))


NETS = {
    "conv, batch norm, residual": conv_bn_residual,
    "depthwise with multiplier": depthwise_multiplier,
    "grouped conv": grouped,
    "channel shuffle": shuffle,
    "asymmetric chunks": chunks,
    "slices of channels": slices,
    "permutation buffer": permuted,
    "focus slicing": focus,
    "channels last": channels_last,
    "grouped transposed conv": grouped_transposed,
    "transposed conv": transposed,
    "group norm": group_norm,
    "instance norm and slopes": instance_norm,
    "shared bias": shared_bias,
    "concat on batch": concat_on_batch,
    "expand along channels": expanded,
    "depth to space DCR": lambda: depth_to_space("DCR"),
    "depth to space CRD": lambda: depth_to_space("CRD"),
    "space to depth": space_to_depth,
    "pad on channels": padded_channels,
    "squeeze and excite": gate,
    "flatten into dense": flattened,
    "resize by sizes": resized,
    "attention with shape sub-graph": attention,
    "vit block": vit_block,
    "tied embedding": tied_embedding,
    "bidirectional lstm": bidirectional,
    "gru with made state": gru_with_made_state,
    "einsum": einsum,
    "rotary embedding": rotary,
    "grouped queries": grouped_queries,
    "two free sizes": two_free_sizes,
    "two free sizes, the rest inferred": two_free_sizes_rest_inferred,
    "a gate expanded to a shape": expanded_like,
    "a token for every sample": token_for_every_sample,
    "spatial gate": spatial_gate,
    "quantized": quantized,
    "three-dimensional conv": three_dimensional,
}
