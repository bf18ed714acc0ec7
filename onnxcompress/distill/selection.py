"""Which weights the user lets move."""

from __future__ import annotations

import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.job import Job
from onnxcompress.distill.weights import Weight
from onnxcompress.distill.working_copy import labels
from onnxcompress.errors import ModelError
from onnxcompress.passes.base import Scope

_ROLES = {"all": {"weight", "bias", "norm", "scale"}, "weights": {"weight"}, "bias": {"bias"}, "norm": {"norm"}}


def select_weights(job: Job, bridge: Bridge) -> list[tuple[Weight, torch.nn.Parameter]]:
    """The weights of the chosen kind and scope; of those that several nodes share, the ones all of whose are in scope.

    Raises:
        ModelError: Where none is left.
    """
    fixed = fixed_nodes(job.student, job.scope, bridge)
    held = {id(p) for w, p in zip(bridge.weights, bridge.parameters, strict=True) if not fixed.isdisjoint(w.nodes)}
    roles = _ROLES[job.settings.train]
    chosen = [(w, p) for w, p in bridge.trainable() if w.role in roles and id(p) not in held]
    if not chosen:
        hint = "Use --train all, or another --only or --exclude; what several nodes share moves where all may."
        raise ModelError("cannot distill", why="no weight is left to train", hint=hint, code="MODEL-NO-WEIGHTS")
    return chosen


def keep_still(bridge: Bridge, chosen: list[tuple[Weight, torch.nn.Parameter]]) -> None:
    """Take no gradient for weights that do not move: it would cost time, and add up unread."""
    moving = {id(parameter) for _, parameter in chosen}
    for parameter in bridge.parameters:
        if isinstance(parameter, torch.nn.Parameter):
            parameter.requires_grad_(id(parameter) in moving)


def fixed_nodes(student: ir.Model, scope: Scope, bridge: Bridge) -> set[ir.Node]:
    """Nodes of the bridge's copy that are out of scope; the name of a call stands for all nodes of its function."""
    only = graph.select_nodes(student, scope.only) if scope.only else None
    out = graph.select_nodes(student, scope.exclude) if scope.exclude else set[str]()
    named = {node: labels(node) for node in graph.iter_nodes(bridge.model)}
    return {node for node, own in named.items() if own & out or not (only is None or own & only)}
