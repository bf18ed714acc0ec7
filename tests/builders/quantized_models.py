"""Float models with every kind of multiplying node, and what the target makes of them on integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from onnxcompress.graph import clone
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context

# name: (graph, sizes of the constants, shape of one sample)
KINDS: dict[str, tuple[str, dict[str, tuple[int, ...]], tuple[int, ...]]] = {
    "conv": ("a = Conv<pads=[1,1,1,1]>(x, w, b) y = Relu(a)", {"w": (6, 4, 3, 3), "b": (6,)}, (4, 7, 7)),
    "no bias": ("a = Conv<strides=[2,2]>(x, w) y = Relu(a)", {"w": (6, 4, 3, 3)}, (4, 9, 9)),
    "grouped": ("y = Conv<group=2, pads=[1,1,1,1]>(x, w, b)", {"w": (6, 2, 3, 3), "b": (6,)}, (4, 6, 6)),
    "depthwise": ("y = Conv<group=4, dilations=[2,2]>(x, w, b)", {"w": (4, 1, 3, 3), "b": (4,)}, (4, 9, 9)),
    "one axis": ("y = Conv<pads=[1,1]>(x, w, b)", {"w": (6, 4, 3), "b": (6,)}, (4, 12)),
    "gemm": ("y = Gemm(x, w, b)", {"w": (12, 5), "b": (5,)}, (12,)),
    "turned gemm": ("y = Gemm<transB=1>(x, w)", {"w": (5, 12)}, (12,)),
    "matmul": ("a = MatMul(x, w) y = Add(b, a)", {"w": (12, 5), "b": (5,)}, (6, 12)),
}
TRANSPOSED = ("y = ConvTranspose<strides=[2,2]>(x, w, b)", {"w": (4, 6, 3, 3), "b": (6,)}, (4, 5, 5))
RESIDUAL = (
    """c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)  r1 = Relu(c1)
    c2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)  r2 = Relu(c2)
    c3 = Conv<pads=[1,1,1,1]>(r2, w3, b3)  s = Add(c3, r1)  r3 = Relu(s)
    m = GlobalAveragePool(r3)  f = Flatten(m)  y = Gemm<transB=1>(f, w4, b4)""",
    {
        "w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 16, 3, 3), "b2": (16,), "w3": (16, 16, 3, 3), "b3": (16,),
        "w4": (10, 16), "b4": (10,),
    },
    (3, 10, 10),
)  # fmt: skip
OPTIONS = RuntimeOptions(threads=1)


def float_model(kind: tuple[str, dict[str, tuple[int, ...]], tuple[int, ...]], seed: int = 0) -> ir.Model:
    """The graph with seeded weights; its input is called x, its output y, the batch is free."""
    body, sizes, shape = kind
    dims = ",".join(map(str, shape))
    out = "N,10" if body.strip().endswith("b4)") else ",".join(["N", *"abc"[: len(shape)]])
    text = f'<ir_version: 8, opset_import: ["": 18]> g (float[N,{dims}] x) => (float[{out}] y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    generator = np.random.default_rng(seed)
    for name, size in sizes.items():
        array = generator.normal(size=size) / np.sqrt(np.prod(size[1:], initial=1.0))
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return ir.from_proto(proto)


def samples(model: ir.Model, count: int = 60, seed: int = 1) -> dict[str, np.ndarray]:
    """Samples with a mean, as after a ReLU, whose channels and neighbours are alike."""
    shape = tuple(model.graph.inputs[0].shape or ())[1:]
    generator = np.random.default_rng(seed)
    own = generator.normal(size=(count, *(int(d) for d in shape)))
    wide = sum(np.roll(own, i, -1) for i in range(3)) + 2.0 * generator.normal(size=(count, 1, *own.shape[2:]))
    return {"x": np.maximum(wide / 2 + 0.5, 0.0).astype(np.float32)}


def quantized(model: ir.Model, bits: int = 8, target: str = "ort-cpu") -> ir.Model:
    """Q/DQ by the target; weights keep that many bits of their int8."""
    student = clone(model)
    list(InsertQDQ(effort="fast").run(student, context(student, data=samples(model), target=target)))
    if bits < 8:
        coarsen(student, 2 ** (bits - 1) - 1)
    return student


def coarsen(model: ir.Model, limit: int) -> None:
    """Every int8 weight on a grid of -limit..limit; int32 biases keep their values."""
    for node in model.graph:
        makers = [v.producer() for v in node.inputs if v is not None]
        for maker in (m for m in makers if m is not None and m.op_type == "DequantizeLinear"):
            if not maker.inputs[0].is_initializer():
                continue
            numbers, scale = (value.const_value.numpy() for value in maker.inputs[:2])
            _set(maker.inputs[0], np.round(numbers * (limit / 127.0)).astype(numbers.dtype))
            _set(maker.inputs[1], scale * np.float32(127.0 / limit))


def _set(value: ir.Value, array: np.ndarray) -> None:
    value.const_value = ir.tensor(array, name=value.name)


def error(model: ir.Model, teacher: ir.Model, seed: int = 9) -> float:
    """Relative square error of the output on other samples."""
    feeds = samples(teacher, 64, seed)
    ours, theirs = (Session(m, OPTIONS).run(feeds)["y"].astype(np.float64) for m in (model, teacher))
    return float(np.square(ours - theirs).sum() / np.square(theirs).sum())


def constants(model: ir.Model) -> dict[str, Any]:
    """Every initializer's numbers by name."""
    return {name: value.const_value.numpy().copy() for name, value in model.graph.initializers.items()}
