"""Small models and samples for training: a residual net with batch normalization, and ways to damage it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.data import ArraySource
from onnxcompress.graph import clone

RESIDUAL = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 12, 12] x) => (float[N, 4] logits) {
    c0 = Conv <pads = [1, 1, 1, 1]> (x, w0)
    n0 = BatchNormalization (c0, g0, b0, m0, v0)
    r0 = Relu (n0)
    c1 = Conv <pads = [1, 1, 1, 1]> (r0, w1)
    n1 = BatchNormalization (c1, g1, b1, m1, v1)
    r1 = Relu (n1)
    c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2, bias2)
    s1 = Add (c2, r0)
    block1 = Relu (s1)
    c3 = Conv <pads = [1, 1, 1, 1]> (block1, w3)
    n3 = BatchNormalization (c3, g3, b3, m3, v3)
    r3 = Relu (n3)
    c4 = Conv <pads = [1, 1, 1, 1]> (r3, w4, bias4)
    s2 = Add (c4, block1)
    block2 = Relu (s2)
    pooled = GlobalAveragePool (block2)
    flat = Flatten (pooled)
    logits = Gemm <transB = 1> (flat, wf, bf)
}
"""


def model(text: str, weights: dict[str, np.ndarray] | None = None) -> ir.Model:
    """The graph of `text` with initializers added."""
    made = ir.from_onnx_text(text)
    values = {v.name: v for node in made.graph for v in node.inputs if v is not None and v.producer() is None}
    for name, array in (weights or {}).items():
        value = values[name]
        value.const_value = ir.tensor(array, name=name)
        value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.from_numpy(array.dtype))
        made.graph.register_initializer(value)
    return made


def residual(width: int = 8, inner: int = 8, seed: int = 0) -> ir.Model:
    """The residual net with seeded weights; its logits differ between samples."""
    rng = np.random.default_rng(seed)

    def kernel(out: int, given: int) -> np.ndarray:
        return (rng.normal(size=(out, given, 3, 3)) * np.sqrt(2 / (9 * given))).astype(np.float32)

    weights: dict[str, np.ndarray] = {
        "w0": kernel(width, 3),
        "w1": kernel(inner, width),
        "w2": kernel(width, inner),
        "w3": kernel(inner, width),
        "w4": kernel(width, inner),
        "bias2": rng.normal(size=width).astype(np.float32) * 0.1,
        "bias4": rng.normal(size=width).astype(np.float32) * 0.1,
        "wf": rng.normal(size=(4, width)).astype(np.float32) * 2,
        "bf": np.zeros(4, np.float32),
    }
    for i, size in ((0, width), (1, inner), (3, inner)):
        weights |= {
            f"g{i}": rng.uniform(0.8, 1.2, size).astype(np.float32),
            f"b{i}": rng.normal(size=size).astype(np.float32) * 0.2,
            f"m{i}": rng.normal(size=size).astype(np.float32) * 0.1,
            f"v{i}": rng.uniform(0.8, 1.2, size).astype(np.float32),
        }
    made = model(RESIDUAL, weights)
    weights["bf"] = _balancing_bias(made)
    set_weight(made, "bf", weights["bf"])
    return made


def _balancing_bias(made: ir.Model) -> np.ndarray:
    """Minus the mean logits, so that every class wins on some samples."""
    from onnxcompress.runtime import Session

    logits = Session(made).run(pictures(256).read(range(256)))["logits"]
    return -logits.mean(0).astype(np.float32)


def pictures(count: int, seed: int = 1, *, labels: bool = False) -> ArraySource:
    """Smooth random pictures; what noise cannot show, they do."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 3, 4, 4)).repeat(3, 2).repeat(3, 3)
    x = (coarse + 0.3 * rng.normal(size=(count, 3, 12, 12))).astype(np.float32)
    return ArraySource({"x": x}, rng.integers(0, 4, count) if labels else None)


def array(made: ir.Model, name: str) -> np.ndarray:
    """The numbers of an initializer."""
    tensor = made.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def set_weight(made: ir.Model, name: str, numbers: np.ndarray) -> None:
    """Replace an initializer."""
    value = made.graph.initializers[name]
    value.const_value = ir.tensor(np.ascontiguousarray(numbers), name=name)
    value.shape = ir.Shape(numbers.shape)


def with_cut_blocks(teacher: ir.Model, keep: int) -> ir.Model:
    """The student whose inner channels are cut to the first `keep`, by hand and without any repair."""
    student = clone(teacher)
    for inner, outer in ((1, 2), (3, 4)):
        set_weight(student, f"w{inner}", array(student, f"w{inner}")[:keep])
        set_weight(student, f"w{outer}", array(student, f"w{outer}")[:, :keep])
        for letter in "gbmv":
            set_weight(student, f"{letter}{inner}", array(student, f"{letter}{inner}")[:keep])
    return student


def node_list(made: ir.Model) -> list[Any]:
    """Everything about the nodes but the numbers of the initializers."""
    return [
        (n.op_type, n.name, [v.name if v else None for v in n.inputs], [v.name for v in n.outputs]) for n in made.graph
    ]
