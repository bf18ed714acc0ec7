"""Small models for the runtime, shapes, cost and verify rooms, written as ONNX text."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1, "TRT" : 1, "local" : 1]>'


def parsed(body: str, **constants: np.ndarray) -> ir.Model:
    """A model from ONNX text without header; `constants` become initializers of those names."""
    model = ir.from_onnx_text(f"{HEADER} {body}")
    for name, array in constants.items():
        graph = model.graph
        value = next(v for v in graph.inputs if v.name == name)
        value.const_value = ir.tensor(array, name=name)
        value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(array.shape)
        graph.inputs.remove(value)
        graph.register_initializer(value)
    return model


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Seeded normal float32 numbers."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)


def linear(inputs: int = 4, classes: int = 3) -> ir.Model:
    """x [N, inputs] -> logits [N, classes]."""
    taken = f"float[N,{inputs}] x, float[{inputs},{classes}] w"
    text = f"g ({taken}) => (float[N,{classes}] logits) {{ logits = MatMul(x, w) }}"
    return parsed(text, w=normal(inputs, classes))


def detector() -> ir.Model:
    """A convolution whose result goes into a TensorRT plugin, and one output before it."""
    text = """g (float[N,3,8,8] x, float[4,3,3,3] w) => (float[N,4,6,6] features, float[N,10] boxes) {
        features = Conv(x, w)
        scores = Sigmoid(features)
        boxes = TRT.EfficientNMS_TRT(scores)
    }"""
    return parsed(text, w=normal(4, 3, 3, 3))
