"""An ONNX graph as a torch module, by partial evaluation for one set of input shapes.

The nodes are walked in order. What depends on constants and shapes alone is computed at once; the rest is recorded
into a flat torch.fx graph, in which no shape arithmetic is left. Weights are Parameters shared by all modules that one
bridge makes, so a batch of another size costs a walk and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.distill.custom_ops import CustomOp, load_ops
from onnxcompress.distill.memory import give_back
from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.origins import stored
from onnxcompress.distill.recording import Recorder
from onnxcompress.distill.scales import Scales, find_scales
from onnxcompress.distill.settings import Settings
from onnxcompress.distill.untying import untie
from onnxcompress.distill.weights import Weight, find_weights
from onnxcompress.distill.working_copy import home, working_copy
from onnxcompress.report import Finding, Severity


@dataclass(frozen=True)
class TorchGraph:
    """A module for one set of input shapes.

    Attributes:
        module: Takes the tensors of `inputs` in order, returns a dict by tensor name.
        inputs: Names of the inputs.
        sizes: Sizes of every float tensor of the main graph by name, as seen while recording.
        nodes: Name of the torch.fx node that makes each recorded tensor of the main graph; none inside a fused step.
    """

    module: torch.fx.GraphModule
    inputs: tuple[str, ...]
    sizes: dict[str, tuple[int, ...]] = field(repr=False)
    nodes: dict[str, str] = field(repr=False)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """The recorded outputs for one batch."""
        return self.module(*[to_torch(feeds[name]) for name in self.inputs])


# Modules kept, one for each size of samples.
_KEPT = 64
Alter = Callable[[TorchGraph, bool], TorchGraph]
"""Gets a module, and whether it takes training steps; gives an altered one."""


class Bridge:
    """A model that torch can train.

    Args:
        model: The model; it is read, not edited.
        scales: The scales of Q/DQ nodes are weights as well.
        until: Tensors up to which it is recorded, in place of its outputs.
        ops: The user's torch forms of operators (see `custom_ops`).

    Attributes:
        model: The working copy that is recorded.
        twins: The values in it that stand for merged constants (see `untying`).
        weights: What may be trained or followed, in order.
        parameters: One Parameter (or buffer, for states) for each weight, by position; equal scales share one.
        follow: Bias scales, each with the trained scales that it is the product of.
        findings: What was left alone.
    """

    def __init__(
        self,
        model: ir.Model,
        *,
        scales: bool = False,
        until: Sequence[str] = (),
        ops: Mapping[str, CustomOp] | None = None,
    ) -> None:
        self.model, self._ops = working_copy(model, until), ops
        untied = untie(self.model)
        found, findings = find_weights(self.model)
        self.weights, self.twins = [w for w in found if w.value in untied.twins or home(w.value)], untied.twins
        self.findings = [*untied.findings, *findings, *_homeless(found, self.weights)]
        self.parameters: list[torch.Tensor] = [_parameter(w) for w in self.weights]
        self.follow: dict[ir.Value, tuple[ir.Value, ...]] = {}
        if scales:
            self._add(find_scales(self.model))
        self._index = {weight.value: i for i, weight in enumerate(self.weights)}
        self._cache: dict[Any, TorchGraph] = {}
        self._alter: Alter | None = None
        self._held = frozenset[ir.Node]()

    def attach(self, alter: Alter | None) -> None:
        """Alter every module made from now on; None makes them plain again."""
        self._alter = alter
        self._cache.clear()

    def hold(self, nodes: Iterable[ir.Node]) -> None:
        """Keep the statistics of these nodes of the copy, and work with them, in training too."""
        self._held = frozenset(nodes)
        self._cache = {key: made for key, made in self._cache.items() if not key[2]}  # key[2]: in training

    def _add(self, scales: Scales) -> None:
        growths = [_growth(w) for w in scales.weights]
        self.weights += scales.weights
        self.parameters += [growths[first] for first in scales.shared]
        self.follow, self.findings = scales.follow, [*self.findings, *scales.findings]

    def trainable(self) -> list[tuple[Weight, torch.nn.Parameter]]:
        """Weights with their Parameters, each Parameter once; states left out."""
        pairs = {id(p): (w, p) for w, p in zip(self.weights[::-1], self.parameters[::-1], strict=True)}
        return [(w, p) for w, p in reversed(pairs.values()) if isinstance(p, torch.nn.Parameter)]

    def specialise(
        self,
        feeds: Mapping[str, np.ndarray],
        taps: Sequence[str] = (),
        *,
        training: bool = False,
        live: bool = False,
    ) -> TorchGraph:
        """The module for feeds of these shapes; cached by shape.

        Args:
            feeds: One batch of inputs; its values matter only for scalar integers, which are taken as constants.
            taps: Names of tensors of the main graph returned beside the outputs.
            training: Batch normalization uses and follows the batch's statistics.
            live: So does what was attached.

        Raises:
            ModelError: Where a node has no torch form, or its shape depends on the samples.
        """
        shapes = tuple((n, a.shape, str(a.dtype), a.item() if _is_setting(a) else None) for n, a in feeds.items())
        key = (shapes, tuple(taps), training, live)
        if key not in self._cache:
            recorder = Recorder(
                self.model,
                self._index,
                self.weights,
                self.parameters,
                training=training,
                held=self._held,
                follow=self.follow,
                ops=self._ops,
            )
            made = _record(recorder, self.model, feeds, taps)
            give_back()
            while len(self._cache) >= _KEPT:  # the oldest: samples of many sizes would fill the memory
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = made if self._alter is None else self._alter(made, live)
        return self._cache[key]


def bridge_for(model: ir.Model, settings: Settings) -> Bridge:
    """The bridge of a student as the options ask for it."""
    ops = load_ops(settings.ops)
    return Bridge(model, scales=settings.scales == "train", until=settings.until, ops=ops)


def _record(recorder: Recorder, model: ir.Model, feeds: Mapping[str, np.ndarray], taps: Sequence[str]) -> TorchGraph:
    names = tuple(name for name, array in feeds.items() if not _is_setting(array))
    inputs = {value.name: value for value in model.graph.inputs}
    with torch.no_grad():
        for name, array in feeds.items():
            recorder.feed(inputs[name], to_torch(array), known=_is_setting(array))
        outputs = [v for v in model.graph.outputs if not v.is_initializer()]
        known = {v.name: v for v in (*model.graph.inputs, *model.graph.initializers.values())}
        known |= {v.name: v for node in model.graph for v in node.outputs}
        module = recorder.record({v.name or "": v for v in [*outputs, *(known[name] for name in taps)]})
    there = {node.name for node in module.graph.nodes}
    nodes = {name: place for name, place in recorder.nodes.items() if place in there}
    return TorchGraph(module, names, recorder.sizes, nodes)


def _is_setting(array: np.ndarray) -> bool:
    """A scalar integer or bool (a sampling rate, a switch): part of the graph, not of the samples."""
    return array.ndim == 0 and array.dtype.kind in "iub"


def _homeless(found: list[Weight], kept: list[Weight]) -> list[Finding]:
    """Weights that no place of the model holds by itself."""
    message = "a call passes it to a local function as an attribute; it keeps its numbers"
    lost = [weight for weight in found if weight not in kept]
    return [Finding("DISTILL-FUNCTION-WEIGHTS", message, weight.name, Severity.WARNING) for weight in lost]


def _growth(scale: Weight) -> torch.nn.Parameter:
    """What a scale learns: the logarithm of its factor, 0 at the start."""
    tensor = stored(scale.value)
    assert tensor is not None
    return torch.nn.Parameter(torch.zeros(tensor.shape.numpy()))


def _parameter(weight: Weight) -> torch.Tensor:
    """Master copy in float32: of the values on the grid, where the weight is stored as integers."""
    tensor = stored(weight.value)
    assert tensor is not None
    array = tensor.numpy()
    if weight.grid is not None:
        array = ((weight.grid.spread(array).astype(np.float32) - weight.grid.zero) * weight.grid.scale).astype(
            np.float32
        )
    made = to_torch(array)
    return made if weight.role == "state" else torch.nn.Parameter(made)
