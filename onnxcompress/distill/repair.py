"""Re-normalisation before training (REPAIR, Jordan et al. 2022, arXiv 2211.08403): closed form, no gradient.

After pruning, the means and spreads of the activations have drifted. Layer by layer, each channel c of a convolution,
Gemm or batch normalization gets the teacher's mean and standard deviation back:

    y' = a y + b,   a = std_t / std_s,   b = mean_t - a mean_s,   folded into the layer's scale and bias.

One forward pass does all layers: each sees the corrected activations of those before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.bridge import Bridge, TorchGraph
from onnxcompress.distill.ops.dtypes import to_torch

_LIMITS = (0.2, 5.0)
_SMALL = 1e-3


Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean and standard deviation of each channel."""


@dataclass(frozen=True)
class Point:
    """One layer that can be corrected.

    Attributes:
        name: Its output tensor.
        channel: Channel axis of the output.
        scale: Position of the weight that multiplies.
        scale_axis: Its output-channel axis.
        bias: Position of the bias.
    """

    name: str
    channel: int
    scale: int
    scale_axis: int
    bias: int


def find_points(bridge: Bridge, free: Iterable[torch.Tensor] | None = None) -> list[Point]:
    """Layers with a float scale and a bias of their own, in order; a Conv before a BatchNormalization is left to it.

    Args:
        bridge: The student.
        free: Its tensors that may move, all where it is None: a layer takes part where its scale and its bias may.
    """
    may = None if free is None else {id(tensor) for tensor in free}
    pairs = enumerate(zip(bridge.weights, bridge.parameters, strict=True))
    index = {w.value: i for i, (w, p) in pairs if w.grid is None and (may is None or id(p) in may)}
    points: list[Point] = []
    for node in bridge.model.graph:
        point = _point(node, index)
        if point is not None and not _read_by_norm(node):
            points.append(point)
    return points


def _point(node: ir.Node, index: Mapping[ir.Value, int]) -> Point | None:
    if node.op_type not in ("Conv", "Gemm", "BatchNormalization") or len(node.inputs) < 3:
        return None
    scale, bias = (_own(v, index) for v in node.inputs[1:3])
    if scale is None or bias is None:
        return None
    if node.op_type == "Gemm":
        plain = graph.attribute(node, "alpha", 1.0) == graph.attribute(node, "beta", 1.0) == 1.0
        axis = 0 if graph.attribute(node, "transB", 0) else 1
        return Point(node.outputs[0].name or "", 1, scale, axis, bias) if plain else None
    return Point(node.outputs[0].name or "", 1, scale, 0, bias)


def _own(value: ir.Value | None, index: Mapping[ir.Value, int]) -> int | None:
    """Position of a weight that one node alone uses."""
    return index.get(value) if value is not None and len(value.uses()) == 1 else None


def _read_by_norm(node: ir.Node) -> bool:
    return any(use.node.op_type == "BatchNormalization" for use in node.outputs[0].uses())


class TeacherMoments:
    """Mean and standard deviation of each channel of the teacher's tensors, run by run.

    Args:
        points: Where they are wanted.
    """

    def __init__(self, points: Iterable[Point]) -> None:
        self._axes = {point.name: point.channel for point in points}
        self._sums: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Count one run's tensors in."""
        for name, array in arrays.items():
            channel = self._axes[name]
            axes = tuple(i for i in range(array.ndim) if i != channel)
            wide = array.astype(np.float64)
            count, total, squares = self._sums.get(name, (0, np.float64(0), np.float64(0)))
            size = array.size // max(array.shape[channel], 1)
            self._sums[name] = (count + size, total + wide.sum(axes), squares + np.square(wide).sum(axes))

    def result(self) -> dict[str, Moments]:
        """Mean and standard deviation by name."""
        made: dict[str, Moments] = {}
        for name, (count, total, squares) in self._sums.items():
            mean = total / count
            spread = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
            made[name] = torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(spread.astype(np.float32))
        return made


def repair(
    bridge: Bridge,
    module: TorchGraph,
    feeds: Mapping[str, np.ndarray],
    teacher: Mapping[str, Moments],
    points: list[Point],
) -> int:
    """Correct every point whose teacher's moments are given; the bridge's tensors are edited in place.

    Returns:
        How many layers moved.
    """
    places = {module.nodes[p.name]: p for p in points if p.name in teacher and p.name in module.nodes}
    corrector = _Corrector(module.module, bridge, places, teacher)
    with torch.no_grad():
        corrector.run(*[to_torch(feeds[n]) for n in module.inputs])
    return corrector.moved


class _Corrector(torch.fx.Interpreter):
    """Runs the module node by node and corrects what it passes."""

    def __init__(
        self,
        module: torch.fx.GraphModule,
        bridge: Bridge,
        places: Mapping[str, Point],
        teacher: Mapping[str, Moments],
    ) -> None:
        super().__init__(module)
        self._bridge, self._places, self._teacher = bridge, places, teacher
        self.moved = 0

    def run_node(self, n: torch.fx.Node) -> Any:
        """The node's result, corrected where it is a point."""
        result = super().run_node(n)
        point = self._places.get(n.name)
        return result if point is None else self._correct(point, result)

    def _correct(self, point: Point, y: torch.Tensor) -> torch.Tensor:
        mean, std = (moment.to(y) for moment in self._teacher[point.name])
        if mean.shape != y.shape[point.channel : point.channel + 1]:
            return y
        mine_mean, mine_std = _moments(y, point.channel)
        alive = (mine_std > 1e-6) & (std > 1e-6)
        a = torch.where(alive, std / mine_std.clamp(min=1e-12), torch.ones_like(std)).clamp(*_LIMITS)
        b = mean - a * mine_mean
        if bool(((a - 1).abs() < _SMALL).all() and (b.abs() < _SMALL * std.clamp(min=1e-6)).all()):
            return y
        self._fold(point, a, b)
        self.moved += 1
        shape = [-1 if i == point.channel else 1 for i in range(y.ndim)]
        return y * a.reshape(shape) + b.reshape(shape)

    def _fold(self, point: Point, a: torch.Tensor, b: torch.Tensor) -> None:
        scale, bias = self._bridge.parameters[point.scale], self._bridge.parameters[point.bias]
        scale.data.mul_(a.reshape([-1 if i == point.scale_axis else 1 for i in range(scale.ndim)]))
        bias.data.mul_(a.reshape(bias.shape)).add_(b.reshape(bias.shape))


def _moments(tensor: torch.Tensor, channel: int) -> tuple[torch.Tensor, torch.Tensor]:
    axes = [i for i in range(tensor.ndim) if i != channel]
    return tensor.mean(axes), tensor.std(axes, correction=0)
