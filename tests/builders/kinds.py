"""Small models of kinds that a pipeline meets in the field, built with numpy alone; each with inputs to run it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Kind:
    """A model and its inputs.

    Attributes:
        model: The model.
        feeds: Inputs for one run; state inputs are not zero.
        runs: False where ONNX Runtime lacks an operator on purpose.
        tolerance: What counts as equal after an exact pass.
    """

    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    runs: bool = True
    tolerance: float = 1e-4


@dataclass
class _Graph:
    """Nodes and weights as they are added."""

    rng: np.random.Generator
    dtype: type = np.float32
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, inputs: list[str], outputs: int | list[str] = 1, **attributes: object) -> str:
        names = [f"{op.lower()}{len(self.nodes)}_{n}" for n in range(outputs)] if isinstance(outputs, int) else outputs
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names[0]

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.weight((self.rng.normal(size=shape) * scale).astype(self.dtype))

    def ints(self, *values: int) -> str:
        return self.weight(np.asarray(values, dtype=np.int64))

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, **attributes: object) -> str:
        weights = self.normal(outputs, inputs, kernel, kernel, scale=(inputs * kernel**2) ** -0.5)
        same = {"pads": [kernel // 2] * 4, **attributes}
        return self.node("Conv", [x, weights, self.normal(outputs, scale=0.1)], **same)

    def conv_bn_relu(self, x: str, inputs: int, outputs: int, **attributes: object) -> str:
        y = self.conv(x, inputs, outputs, **attributes)
        spread = self.weight(self.rng.uniform(0.5, 1.5, outputs).astype(self.dtype))
        y = self.node("BatchNormalization", [y, *(self.normal(outputs) for _ in range(3)), spread])
        return self.node("Relu", [y])

    def head(self, x: str, features: int, classes: int) -> str:
        y = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        return self.node("Gemm", [y, self.normal(features, classes, scale=features**-0.5), self.normal(classes)])

    def model(self, inputs: list, outputs: list, opset: int = 18, **more: object) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "kind", inputs, outputs, self.weights)
        imports = [helper.make_opsetid("", opset), *more.pop("domains", [])]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _value(name: str, dims: list, kind: int = T.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def _rename(g: _Graph, old: str, new: str) -> None:
    for node in g.nodes:
        node.output[:] = [new if name == old else name for name in node.output]


def _boxes_and_scores(g: _Graph) -> tuple[str, str]:
    """A backbone over (1, 3, 32, 32) and two heads: boxes (1, 64, 4) and scores (1, 2, 64)."""
    x = g.conv_bn_relu("image", 3, 8, strides=[2, 2])
    x = g.conv_bn_relu(x, 8, 16, strides=[2, 2])
    corner = g.node("Reshape", [g.node("Sigmoid", [g.conv(x, 16, 4, 1, pads=[0] * 4)]), g.ints(1, 4, 64)])
    corner = g.node("Transpose", [corner], perm=[0, 2, 1])
    g.node("Split", [corner, g.ints(2, 2)], outputs=["near", "size"], axis=2)
    boxes = g.node("Concat", ["near", g.node("Add", ["near", "size"])], axis=2)
    scores = g.node("Reshape", [g.node("Sigmoid", [g.conv(x, 16, 2, 1, pads=[0] * 4)]), g.ints(1, 2, 64)])
    return boxes, scores


def detector() -> Kind:
    """A single-shot detector that ends in ONNX's own NonMaxSuppression."""
    g = _Graph(np.random.default_rng(0))
    boxes, scores = _boxes_and_scores(g)
    limits = [g.ints(10), *(g.weight(np.asarray([v], np.float32)) for v in (0.5, 0.3))]
    g.node("NonMaxSuppression", [boxes, scores, *limits], outputs=["selected"])
    _rename(g, boxes, "boxes")
    for node in g.nodes:
        node.input[:] = ["boxes" if name == boxes else name for name in node.input]
    model = g.model(
        [_value("image", [1, 3, 32, 32])], [_value("selected", ["M", 3], T.INT64), _value("boxes", [1, 64, 4])]
    )
    return Kind(model, {"image": g.rng.normal(size=(1, 3, 32, 32)).astype(np.float32)})


def detector_with_plugin() -> Kind:
    """The same detector with a tail that only TensorRT has; a stand-in for its EfficientNMS_TRT plug-in."""
    g = _Graph(np.random.default_rng(0))
    boxes, scores = _boxes_and_scores(g)
    turned = g.node("Transpose", [scores], perm=[0, 2, 1])
    names = ["num_detections", "detection_boxes", "detection_scores", "detection_classes"]
    settings = {"max_output_boxes": 10, "score_threshold": 0.3, "iou_threshold": 0.5, "background_class": -1}
    g.node("EfficientNMS_TRT", [boxes, turned], outputs=names, domain="TRT", plugin_version="1", **settings)
    kinds, shapes = (T.INT32, T.FLOAT, T.FLOAT, T.INT32), ([1, 1], [1, 10, 4], [1, 10], [1, 10])
    outputs = [_value(n, s, k) for n, s, k in zip(names, shapes, kinds, strict=True)]
    model = g.model([_value("image", [1, 3, 32, 32])], outputs, domains=[helper.make_opsetid("TRT", 1)])
    return Kind(model, {"image": g.rng.normal(size=(1, 3, 32, 32)).astype(np.float32)}, runs=False)


def float16() -> Kind:
    """A classifier whose weights, input and output are float16."""
    g = _Graph(np.random.default_rng(1), np.float16)
    x = g.conv_bn_relu("image", 3, 8)
    x = g.conv_bn_relu(x, 8, 16, strides=[2, 2])
    _rename(g, g.head(x, 16, 5), "logits")
    model = g.model([_value("image", ["N", 3, 16, 16], T.FLOAT16)], [_value("logits", ["N", 5], T.FLOAT16)])
    return Kind(model, {"image": g.rng.normal(size=(4, 3, 16, 16)).astype(np.float16)}, tolerance=2e-2)


def opset_23() -> Kind:
    """A newer operator set: RMSNormalization and Attention of opset 23, and weights in blocked int4 of opset 21."""
    g = _Graph(np.random.default_rng(2))
    x = g.node("RMSNormalization", ["tokens", g.weight(np.ones(8, np.float32))], axis=-1)
    q, k, v = (g.node("MatMul", [x, g.normal(8, 8, scale=0.35)]) for _ in range(3))
    x = g.node("Attention", [q, k, v], q_num_heads=2, kv_num_heads=2)
    packed = helper.make_tensor("w_int4", T.INT4, [8, 8], g.rng.integers(-8, 8, size=64).tolist())
    g.weights.append(packed)
    wide = g.node("DequantizeLinear", ["w_int4", g.weight(np.full((2, 8), 0.1, np.float32))], axis=0, block_size=4)
    g.node("MatMul", [x, wide], outputs=["out"])
    model = g.model([_value("tokens", ["N", 6, 8])], [_value("out", ["N", 6, 8])], opset=23)
    return Kind(model, {"tokens": g.rng.normal(size=(2, 6, 8)).astype(np.float32)})


def decoder_step() -> Kind:
    """One step of a decoder: token ids and the keys and values so far go in, logits and the longer cache come out."""
    g = _Graph(np.random.default_rng(3))
    x = g.node("Gather", [g.normal(17, 8), "input_ids"], axis=0)
    q, k, v = (g.node("MatMul", [x, g.normal(8, 8, scale=0.35)]) for _ in range(3))
    heads = [g.node("Transpose", [g.node("Reshape", [t, g.ints(0, 0, 2, 4)])], perm=[0, 2, 1, 3]) for t in (q, k, v)]
    g.node("Concat", ["past_key", heads[1]], outputs=["present_key"], axis=2)
    g.node("Concat", ["past_value", heads[2]], outputs=["present_value"], axis=2)
    scores = g.node("MatMul", [heads[0], g.node("Transpose", ["present_key"], perm=[0, 1, 3, 2])])
    scores = g.node("Softmax", [g.node("Mul", [scores, g.weight(np.float32(0.5))])], axis=-1)
    mixed = g.node("Transpose", [g.node("MatMul", [scores, "present_value"])], perm=[0, 2, 1, 3])
    x = g.node("Add", [x, g.node("MatMul", [g.node("Reshape", [mixed, g.ints(0, 0, 8)]), g.normal(8, 8, scale=0.35)])])
    g.node("MatMul", [x, g.normal(8, 17, scale=0.35)], outputs=["logits"])
    past = [_value(n, ["N", 2, "P", 4]) for n in ("past_key", "past_value")]
    present = [_value(n, ["N", 2, "P1", 4]) for n in ("present_key", "present_value")]
    model = g.model([_value("input_ids", ["N", 1], T.INT64), *past], [_value("logits", ["N", 1, 17]), *present])
    cache = {v.name: g.rng.normal(size=(2, 2, 5, 4)).astype(np.float32) for v in past}
    return Kind(model, {"input_ids": g.rng.integers(17, size=(2, 1)), **cache})


def stateful_rnn() -> Kind:
    """One chunk of a recurrent model that is handed its own state, and hands it on."""
    g = _Graph(np.random.default_rng(4))
    x = g.node("Transpose", ["chunk"], perm=[1, 0, 2])
    weights = [g.normal(1, 24, 4, scale=0.5), g.normal(1, 24, 6, scale=0.4), g.normal(1, 48, scale=0.1)]
    g.node("LSTM", [x, *weights, "", "h", "c"], outputs=["steps", "h_next", "c_next"], hidden_size=6)
    last = g.node("Squeeze", ["h_next", g.ints(0)])
    g.node("Gemm", [last, g.normal(6, 3, scale=0.4), g.normal(3)], outputs=["logits"])
    inputs = [_value("chunk", ["N", 5, 4]), _value("h", [1, "N", 6]), _value("c", [1, "N", 6])]
    outputs = [_value("logits", ["N", 3]), _value("h_next", [1, "N", 6]), _value("c_next", [1, "N", 6])]
    state = {name: g.rng.normal(size=(1, 2, 6)).astype(np.float32) for name in ("h", "c")}
    return Kind(g.model(inputs, outputs), {"chunk": g.rng.normal(size=(2, 5, 4)).astype(np.float32), **state})


def with_qdq() -> Kind:
    """A model that carries Q/DQ already: int8 weights behind DequantizeLinear, activations through both."""
    g = _Graph(np.random.default_rng(5))
    x = "image"
    for inputs, outputs in ((3, 8), (8, 8)):
        scale, zero = g.weight(np.float32(0.04)), g.weight(np.uint8(128))
        x = g.node("DequantizeLinear", [g.node("QuantizeLinear", [x, scale, zero]), scale, zero])
        stored = g.weight(g.rng.integers(-127, 128, size=(outputs, inputs, 3, 3)).astype(np.int8))
        steps = g.weight(np.full(outputs, 0.003, np.float32))
        weights = g.node("DequantizeLinear", [stored, steps, g.weight(np.zeros(outputs, np.int8))], axis=0)
        x = g.node("Relu", [g.node("Conv", [x, weights, g.normal(outputs)], pads=[1] * 4)])
    _rename(g, g.head(x, 8, 4), "logits")
    model = g.model([_value("image", ["N", 3, 8, 8])], [_value("logits", ["N", 4])])
    return Kind(model, {"image": g.rng.normal(size=(3, 3, 8, 8)).astype(np.float32)})


def two_inputs() -> Kind:
    """A picture and a row of measurements, joined before the classifier."""
    g = _Graph(np.random.default_rng(6))
    x = g.conv_bn_relu("image", 1, 6)
    x = g.node("Flatten", [g.node("GlobalAveragePool", [x])])
    z = g.node("Relu", [g.node("Gemm", ["row", g.normal(4, 5), g.normal(5)])])
    joined = g.node("Concat", [x, z], axis=1)
    g.node("Gemm", [joined, g.normal(11, 3, scale=0.3), g.normal(3)], outputs=["logits"])
    model = g.model([_value("image", ["N", 1, 12, 12]), _value("row", ["N", 4])], [_value("logits", ["N", 3])])
    feeds = {"image": (4, 1, 12, 12), "row": (4, 4)}
    return Kind(model, {k: g.rng.normal(size=s).astype(np.float32) for k, s in feeds.items()})


KINDS: dict[str, Callable[[], Kind]] = {
    "detector with NonMaxSuppression": detector,
    "detector with a TensorRT plug-in": detector_with_plugin,
    "float16": float16,
    "opset 23": opset_23,
    "decoder step with a cache": decoder_step,
    "stateful RNN": stateful_rnn,
    "with Q/DQ": with_qdq,
    "two inputs": two_inputs,
}
