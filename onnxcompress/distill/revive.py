"""Batch normalization put back behind convolutions for the time of training, and folded away again.

Exporters fold batch normalization into the layer before it; a net without it wants small learning rates. Behind each
convolution with outputs y, with mean m and variance v over some samples, goes

    y' = gamma (y - m) / s + beta,   s = sqrt(v + eps),   gamma = s, beta = m at the start: y' = y

which trains on the batch's own statistics (Ioffe and Szegedy 2015, arXiv 1502.03167), follows them in m and v, and is
folded into weight and bias at the end: W <- W gamma / s, b <- (b - m) gamma / s + beta. The graph is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf

from onnxcompress.distill.bridge import Bridge, TorchGraph
from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.optimization import Chosen
from onnxcompress.distill.repair import Point, find_points
from onnxcompress.distill.weights import Weight
from onnxcompress.report import Finding

_EPSILON = 1e-5
_MOMENTUM = 0.1


@dataclass(frozen=True)
class _Norm:
    """One batch normalization: its place, what it learns, what it follows."""

    point: Point
    gamma: torch.nn.Parameter
    beta: torch.nn.Parameter
    mean: torch.Tensor
    variance: torch.Tensor

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.gamma, self.beta, self.mean, self.variance


class Revival:
    """The batch normalizations of one student.

    Args:
        bridge: The student; `insert` is called on each module that it makes, until `fold`.
        feeds: Samples that give the first statistics.
        chosen: The weights that may move; a layer takes part where its weight and its bias may. None for all.
    """

    def __init__(self, bridge: Bridge, feeds: Mapping[str, np.ndarray], chosen: Chosen | None = None) -> None:
        self._bridge = bridge
        free = None if chosen is None else [parameter for _, parameter in chosen]
        convolutions = {node.outputs[0].name for node in bridge.model.graph if node.op_type == "Conv"}
        points = [point for point in find_points(bridge, free) if point.name in convolutions]
        module = bridge.specialise(feeds)
        found = _Moments(module.module, {module.nodes[p.name]: p for p in points if p.name in module.nodes})
        with torch.no_grad():
            found.run(*[to_torch(feeds[name]) for name in module.inputs])
        self._norms = found.norms
        bridge.attach(self.insert)

    def __len__(self) -> int:
        return len(self._norms)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that training moves."""
        return [tensor for norm in self._norms for tensor in norm.tensors]

    @property
    def statistics(self) -> list[torch.Tensor]:
        """Running means and variances."""
        return [tensor for norm in self._norms for tensor in (norm.mean, norm.variance)]

    def chosen(self, weights: Chosen) -> list[tuple[Weight, torch.nn.Parameter]]:
        """What is learned besides `weights`: gamma and beta of the layers whose weights are among them."""
        moving = {id(parameter) for _, parameter in weights}
        own = self._bridge.weights
        pairs = ((own[n.point.scale], p) for n in self._norms for p in (n.gamma, n.beta))
        return [(replace(w, role="norm"), p) for w, p in pairs if id(self._parameter(w)) in moving]

    def insert(self, made: TorchGraph, live: bool) -> TorchGraph:
        """Put the normalizations into a module; `live` ones use and follow the batch's statistics."""
        nodes, graph = dict(made.nodes), made.module.graph
        known = {node.name: node for node in graph.nodes}
        for i, norm in enumerate(self._norms):
            place = known.get(nodes.get(norm.point.name, ""))
            if place is not None:
                nodes[norm.point.name] = _inserted(made.module, place, norm, i, live).name
        graph.lint()
        made.module.recompile()
        return replace(made, nodes=nodes)

    def finding(self) -> Finding:
        """What was put in."""
        count = len(self._norms)
        message = f"{count} convolutions were trained with batch normalization behind them, folded away after"
        if not count:
            message = "no convolution with a weight and a bias of its own may move; batch normalization was put nowhere"
        return Finding("DISTILL-REVIVED", message, numbers={"layers": count})

    def fold(self) -> None:
        """Move everything into weights and biases; the bridge makes plain modules from then on."""
        for norm in self._norms:
            scale, bias = self._bridge.parameters[norm.point.scale], self._bridge.parameters[norm.point.bias]
            factor = norm.gamma.data / (norm.variance + _EPSILON).sqrt()
            shape = [-1 if i == norm.point.scale_axis else 1 for i in range(scale.ndim)]
            scale.data.mul_(factor.reshape(shape))
            bias.data.copy_((bias.data - norm.mean) * factor + norm.beta.data)
        self._bridge.attach(None)
        self._norms = []

    def _parameter(self, weight: Weight) -> torch.Tensor:
        index = next(i for i, w in enumerate(self._bridge.weights) if w.value is weight.value)
        return self._bridge.parameters[index]


class _Moments(torch.fx.Interpreter):
    """Runs a module and makes a normalization that changes nothing for every place it passes."""

    def __init__(self, module: torch.fx.GraphModule, places: Mapping[str, Point]) -> None:
        super().__init__(module)
        self._places = places
        self.norms: list[_Norm] = []

    def run_node(self, n: torch.fx.Node) -> Any:
        """The node's result as it is."""
        result = super().run_node(n)
        point = self._places.get(n.name)
        if point is not None:
            axes = [i for i in range(result.ndim) if i != 1]
            mean, variance = result.mean(axes), result.var(axes, correction=0)
            gamma = torch.nn.Parameter((variance + _EPSILON).sqrt())
            self.norms.append(_Norm(point, gamma, torch.nn.Parameter(mean.clone()), mean, variance))
        return result


def _inserted(module: torch.fx.GraphModule, place: torch.fx.Node, norm: _Norm, index: int, live: bool) -> torch.fx.Node:
    names = [f"revived_{index}_{part}" for part in ("gamma", "beta", "mean", "variance")]
    for name, tensor in zip(names, norm.tensors, strict=True):
        if isinstance(tensor, torch.nn.Parameter):
            module.register_parameter(name, tensor)
        else:
            module.register_buffer(name, tensor)
    with module.graph.inserting_after(place):
        given = [module.graph.get_attr(name) for name in reversed(names)][::-1]
    with module.graph.inserting_after(given[-1]):
        made = module.graph.call_function(_normalized, (place, *given, live))
    place.replace_all_uses_with(made, delete_user_cb=lambda user: user is not made)
    return made


def _normalized(
    y: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    live: bool,
) -> torch.Tensor:
    live = live and y.numel() > y.shape[1]  # one value has no spread
    return nnf.batch_norm(y, mean, variance, gamma, beta, live, _MOMENTUM, _EPSILON)
