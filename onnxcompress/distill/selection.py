"""Which weights the user lets move."""

from __future__ import annotations

import torch

from onnxcompress import graph
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.job import Job
from onnxcompress.distill.weights import Weight
from onnxcompress.errors import ModelError

_ROLES = {"all": {"weight", "bias", "norm", "scale"}, "weights": {"weight"}, "bias": {"bias"}, "norm": {"norm"}}


def select_weights(job: Job, bridge: Bridge) -> list[tuple[Weight, torch.nn.Parameter]]:
    """The weights of the chosen kind and scope.

    Raises:
        ModelError: Where none is left.
    """
    scope, student = job.scope, job.student
    only = graph.select_nodes(student, scope.only) if scope.only else None
    out = graph.select_nodes(student, scope.exclude) if scope.exclude else set[str]()
    chosen = [
        (w, p)
        for w, p in bridge.trainable()
        if w.role in _ROLES[job.settings.train] and w.node not in out and (only is None or w.node in only)
    ]
    if not chosen:
        hint = "Use train=all, or another --only or --exclude."
        raise ModelError("cannot distill", why="no weight is left to train", hint=hint, code="MODEL-NO-WEIGHTS")
    return chosen
