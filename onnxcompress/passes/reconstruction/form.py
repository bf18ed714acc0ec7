"""Linear nodes as least-squares problems: which tensors they read and write, and their weights as one matrix.

Conv, ConvTranspose, Gemm and MatMul by a constant are all y = P w + b for a matrix of rows P. `Linear.matrix` gives
(w; b) with shape (groups, columns + 1, outputs / groups), the bias as last column; `Linear.store` writes such a matrix
back. Scalars of a Gemm (y = alpha x w + beta b) are inside the matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.patches import Geometry, rows_at
from onnxcompress.passes.reconstruction.slots import Slot, slot_of


@dataclass(frozen=True)
class Linear:
    """One linear node of the student.

    Attributes:
        node: The node.
        index: Its place in topological order.
        source: Name of the tensor it reads.
        output: The value that carries its sum with the bias; for a MatMul followed by a constant Add, the Add's output.
        kernel: Where the weight lies.
        offset: Where the bias lies; None where it has none.
        geometry: For convolutions; None for matrix products.
        outputs_first: True where a matrix is stored (outputs, inputs).
        turned: True where the tensor that it reads, or for a constant on the left the output too, is transposed.
        left: True for a MatMul whose constant is on the left.
        scale: What the weight is multiplied by (Gemm's alpha).
        bias_scale: What the bias is multiplied by (Gemm's beta).
        can_add_bias: The operator has a slot for a bias that is not there.
    """

    node: ir.Node
    index: int
    source: str
    output: ir.Value
    kernel: Slot
    offset: Slot | None = None
    geometry: Geometry | None = None
    outputs_first: bool = False
    turned: bool = False
    left: bool = False
    scale: float = 1.0
    bias_scale: float = 1.0
    can_add_bias: bool = False

    @property
    def groups(self) -> int:
        """Number of independent problems."""
        return self.geometry.group if self.geometry else 1

    @property
    def weight(self) -> ir.Value:
        """The constant behind the weight."""
        return self.kernel.source

    @property
    def takes_bias(self) -> bool:
        """Whether a bias can be fitted: it is there, or the operator has a slot for one."""
        return self.offset is not None or self.can_add_bias

    @property
    def channel_axis(self) -> int:
        """The axis of the output's channels, counted from the end."""
        if self.geometry:
            return -1 - len(self.geometry.kernel)
        return -2 if self.left else -1

    def shape(self) -> tuple[int, int, int]:
        """Groups, columns with the bias' own, outputs of a group."""
        sizes = self.kernel.read().shape
        extra = int(self.takes_bias)
        if self.geometry is None:
            outputs, inputs = sizes if self.outputs_first else sizes[::-1]
            return 1, inputs + extra, outputs
        taps = math.prod(self.geometry.kernel)
        if self.geometry.transposed:
            return self.groups, sizes[0] // self.groups * taps + extra, sizes[1]
        return self.groups, sizes[1] * taps + extra, sizes[0] // self.groups

    def matrix(self, dtype: Any = np.float64) -> np.ndarray:
        """The weights, shape (groups, columns [+ 1], outputs / groups)."""
        body = self.to_matrix(self.kernel.read()).astype(dtype)
        body *= dtype(self.scale)
        if not self.takes_bias:
            return body
        outputs = body.shape[0] * body.shape[2]
        vector = np.zeros(outputs) if self.offset is None else self.offset.read().astype(dtype).reshape(-1)
        bias = np.broadcast_to(vector * self.bias_scale, (outputs,)).reshape(self.groups, 1, -1)
        return np.concatenate([body, bias.astype(dtype)], axis=1)

    def count(self, x_shape: tuple[int, ...]) -> int:
        """Number of rows in one batch of inputs of shape `x_shape`."""
        if self.geometry:
            return x_shape[0] * math.prod(self.geometry.sizes(x_shape[2:]))
        return math.prod(x_shape) // max(x_shape[-2 if self.turned else -1], 1)

    def rows(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The rows P at flat output positions, with a column of ones where a bias is fitted."""
        if self.geometry:
            picked = self.geometry.patches(x, positions)
        else:
            wide = x.swapaxes(-1, -2) if self.turned else x
            picked = wide.reshape(-1, wide.shape[-1])[positions][None]
        if not self.takes_bias:
            return picked
        return np.concatenate([picked, np.ones((*picked.shape[:2], 1), picked.dtype)], axis=2)

    def targets(self, y: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Rows of an output-shaped tensor at flat positions: shape (groups, rows, outputs / groups)."""
        if self.geometry:
            picked = rows_at(y, positions)
        else:
            wide = y.swapaxes(-1, -2) if self.left else y
            picked = wide.reshape(-1, wide.shape[-1])[positions]
        return picked.reshape(len(picked), self.groups, -1).transpose(1, 0, 2)

    def positions(self, y_shape: tuple[int, ...]) -> int:
        """Number of rows in one batch of outputs of shape `y_shape`."""
        return math.prod(y_shape) // max(y_shape[self.channel_axis], 1)

    def store(self, matrix: np.ndarray) -> None:
        """Write a matrix in the form of `matrix` back into weight and bias, in their own dtype."""
        body = matrix[:, :-1] if self.takes_bias else matrix
        weight = self.from_matrix(body, self.kernel.read().shape)
        self.kernel.write(weight if self.scale == 1.0 else weight / matrix.dtype.type(self.scale))
        if not self.takes_bias:
            return
        bias = matrix[:, -1].reshape(-1) / self.bias_scale
        if self.offset is None:
            if np.any(bias):
                self._add_bias(bias)
        elif self.offset.read().size == bias.size:
            self.offset.write(bias.reshape(self.offset.read().shape))
        else:
            self._add_bias(bias)

    def to_matrix(self, weight: np.ndarray) -> np.ndarray:
        """An array in the shape of the weight as (groups, columns without the bias' own, outputs / groups)."""
        if self.geometry is None:
            return (weight.T if self.outputs_first else weight)[None]
        first = weight.shape[0] // self.groups
        blocks = weight.reshape(self.groups, first, weight.shape[1], -1)
        order = (0, 1, 3, 2) if self.geometry.transposed else (0, 2, 3, 1)
        turned = blocks.transpose(order)
        return turned.reshape(self.groups, -1, turned.shape[-1])

    def from_matrix(self, body: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The inverse of `to_matrix`."""
        if self.geometry is None:
            return body[0].T if self.outputs_first else body[0]
        taps = math.prod(self.geometry.kernel)
        blocks = body.reshape(self.groups, -1, taps, body.shape[-1])
        order = (0, 1, 3, 2) if self.geometry.transposed else (0, 3, 1, 2)
        return blocks.transpose(order).reshape(shape)

    def _add_bias(self, bias: np.ndarray) -> None:
        mean = self._mean_behind()
        if mean is not None:
            mean.write(mean.read() - bias)
            return
        owner = self.node.graph
        assert isinstance(owner, ir.Graph)
        name = graph.fresh_name(set(owner.initializers), f"{self.kernel.source.name}_bias")
        dtype = self.kernel.read().dtype
        if len(self.node.inputs) < 3:
            self.node.resize_inputs(3)
        self.node.replace_input_with(2, graph.add_initializer(owner, name, bias.astype(dtype)))

    def _mean_behind(self) -> Slot | None:
        """The mean of the BatchNormalization that alone reads the output: where a bias costs no parameter."""
        uses = list(self.output.uses())
        if self.offset is not None or len(uses) != 1 or self.output.is_graph_output():
            return None
        norm = uses[0].node
        if norm.op_type != "BatchNormalization" or uses[0].idx != 0 or len(norm.outputs) > 1:
            return None
        mean = slot_of(norm, 3)
        return None if mean is None or mean.shared else mean
