"""Raw pixels (0..255) where a model wants normalised ones: what its first layers say about the scale of its input.

Values in 0..255 alone prove nothing: some models were trained on them. Their first layers tell. Behind the input x, a
float model has either a BatchNormalization whose running mean m and variance v describe what it was trained on, or a
product z = W x + b whose bias was trained against W x. With E and V over the samples, and medians over the channels c,

    off    = median_c |E[z_c] - m_c| / sqrt(v_c + eps)        (0..0.3 where the input is right, 28 and more where raw)
    spread = median_c V[z_c] / (v_c + eps)                    (0.3..1.4, and 700 and more)
    weight = rms(W x) / rms(b)                                (0.3..9, and 60 and more)

(measured on some twenty trained models). The first such layer decides. Behind a recurrent or saturating node nothing
can be told any more; without a witness, whole numbers are taken for pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.data.source import DataSource
from onnxcompress.errors import CompressError
from onnxcompress.graph import array_of, attribute, label

if TYPE_CHECKING:
    from onnxcompress.runtime_options import RuntimeOptions

_SAMPLES = 8
_SIGMAS, _SPREAD, _WEIGHT = 10.0, 20.0, 25.0
_PRODUCTS = {"Conv", "Gemm", "MatMul"}
_BLIND = {"LSTM", "GRU", "RNN", "Sigmoid", "HardSigmoid", "Tanh", "Softmax", "Clip", "QuantizeLinear"}
"""Behind these, values no longer show how large the input was."""


@dataclass(frozen=True)
class Witness:
    """A layer behind an input that shows the scale it was trained on.

    Attributes:
        node: BatchNormalization, or a product with a bias.
        tensor: What to measure: the input of the former, the output of the latter (with its bias).
        axis: The axis of its channels.
        center: Running mean, or bias, by channel.
        variance: Running variance plus epsilon by channel; None for a product.
    """

    node: ir.Node
    tensor: ir.Value
    axis: int
    center: np.ndarray
    variance: np.ndarray | None = None

    def objection(self, array: np.ndarray) -> str:
        """What speaks against the scale of the input, as the end of a sentence; "" where nothing does.

        Args:
            array: `tensor` over the samples.
        """
        rows = np.moveaxis(array.astype(np.float64), self.axis, 0).reshape(self.center.size, -1)
        name = f"{self.node.op_type} {label(self.node)}"
        if self.variance is None:
            ratio = float(np.sqrt(np.mean((rows - self.center[:, None]) ** 2) / np.mean(self.center**2)))
            said = f"the sums of {name} become {ratio:.0f} times as large as the bias that it was trained with"
            return said if ratio > _WEIGHT else ""
        off = float(np.median(np.abs(rows.mean(axis=1) - self.center) / np.sqrt(self.variance)))
        spread = float(np.median(rows.var(axis=1) / self.variance))
        said = f"{name} gets values {off:.1f} sigmas off its running mean, with {spread:.0f} times its variance"
        return said if off > _SIGMAS or spread > _SPREAD else ""


def looks_like_pixels(low: float, high: float, rank: int) -> bool:
    """Whether values of that range, in samples of that rank, may be pixels of 8 bits, with some noise on them."""
    return rank >= 2 and low >= -8 and 64 < high <= 264


def scale_fault(model: ir.Model, name: str, source: DataSource, options: RuntimeOptions | None = None) -> str | None:
    """What the first layer behind input `name` has against the scale of the samples.

    Args:
        model: The float model.
        name: One of its inputs.
        source: Samples; at most eight are run.
        options: Providers, custom operators.

    Returns:
        The end of a sentence; "" where the scale is right; None where no layer can tell, or the model does not run.
    """
    found = witness(model, name)
    if found is None or not found.tensor.name:
        return None
    try:
        return found.objection(_measured(model, found.tensor.name, source, options))
    except CompressError:
        return None


def witness(model: ir.Model, name: str) -> Witness | None:
    """The first layer behind input `name` that shows the scale it was trained on."""
    reached = {value for value in model.graph.inputs if value.name == name}
    for node in model.graph:
        if reached.isdisjoint(value for value in node.inputs if value is not None):
            continue
        if node.op_type in _BLIND:
            return None
        found = next(_witnesses(node, reached), None)
        if found is not None:
            return found
        reached.update(node.outputs)
    return None


def _witnesses(node: ir.Node, reached: set[ir.Value]) -> Iterator[Witness]:
    if node.op_type == "BatchNormalization" and node.inputs[0] in reached:
        mean, variance = (_numbers(node.inputs[i]) for i in (3, 4))
        if mean is not None and variance is not None and mean.size:
            epsilon = float(attribute(node, "epsilon", 1e-5))
            yield Witness(node, node.inputs[0], 1, mean.astype(np.float64), variance.astype(np.float64) + epsilon)
    elif node.op_type in _PRODUCTS:
        biased = _bias(node)
        if biased is not None:
            yield Witness(node, biased[0], 1 if node.op_type == "Conv" else -1, biased[1])


def _bias(node: ir.Node) -> tuple[ir.Value, np.ndarray] | None:
    """The output of a product with its bias, be it in the node or in the Add behind it; None where it is zero."""
    found, out = _numbers(node.inputs[2]) if len(node.inputs) > 2 else None, node.outputs[0]
    if found is None:
        readers = [use.node for use in out.uses()]
        if len(readers) != 1 or readers[0].op_type != "Add":
            return None
        found = next((_numbers(value) for value in readers[0].inputs if value is not out), None)
        out = readers[0].outputs[0]
    bias = None if found is None else found.reshape(-1).astype(np.float64)
    return (out, bias) if bias is not None and bias.size > 1 and bias.any() else None


def _numbers(value: ir.Value | None) -> np.ndarray | None:
    """A constant, or what an input holds by default: old files list every weight among the inputs."""
    found = array_of(value)
    if found is None and value is not None and value.const_value is not None:
        found = value.const_value.numpy()
    return found


def _measured(model: ir.Model, tensor: str, source: DataSource, options: RuntimeOptions | None) -> np.ndarray:
    from onnxcompress.runtime import run_source  # it reads sources itself

    few = source.subset(np.unique(np.linspace(0, len(source) - 1, _SAMPLES).round().astype(np.int64)))
    runs = run_source(model, few, [tensor], options=options, batch=1, taps=[tensor], optimize=False)
    return np.concatenate([run[tensor] for run in runs])
