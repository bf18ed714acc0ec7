"""What the user is told when an oracle fails: what, where, why, and how to go on without the node concerned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import CompressError, InternalError
from onnxcompress.graph import label
from onnxcompress.passes.pruning.oracles.recording import Feeds, gap, limit_of
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime_options import RuntimeOptions


def failure(what: str, why: str, where: str = "", node: str = "") -> InternalError:
    """The error of a failed oracle.

    Args:
        what: What failed.
        why: The cause, as a clause.
        where: A tensor or a node.
        node: The node to leave alone; that at `where`, by its name, if absent.
    """
    hint = f"Nothing was changed. Give --exclude {node or 'NODE'} to leave it alone, and report it with the model."
    return InternalError(what, where=where, why=why, hint=hint, code="PRUNE-ORACLE")


def difference(what: str, name: str, apart: float, node: str) -> InternalError:
    """The error of numbers that differ at the tensor `name`, first at `node`."""
    first = f", first at the node {node}" if node else ""
    return failure(what, f"it differs by {apart:.2g} of its range{first}", f"tensor {name}", node)


def first_difference(
    whole: ir.Model, model: ir.Model, feeds: Feeds, kept: Mapping[str, Mapping[int, list[int]]], options: RuntimeOptions
) -> str:
    """The first node, in order, whose kept channels come out otherwise than in the masked original; empty if unknown.

    Args:
        whole: The masked original.
        model: The result.
        feeds: Inputs.
        kept: Kept positions by tensor and axis.
        options: Providers, threads, custom operators.
    """
    first, second = runnable_part(whole, options)[0], runnable_part(model, options)[0]
    made = {value.name for node in second.graph for value in node.outputs}
    nodes = {v.name: label(node) for node in first.graph for v in node.outputs if v.name and v.name in made}
    try:
        pair = [Session(m, options, optimize=False, taps=list(nodes)).run(feeds, list(nodes)) for m in (first, second)]
    except CompressError:  # a type that cannot be an output: the tensor's name has to do
        return ""
    limit = limit_of(whole, model)
    for name, node in nodes.items():
        wanted, got = pair[0][name], pair[1][name]
        if is_tensor(wanted) and is_tensor(got) and wanted.dtype.kind == "f":
            wanted = _taken(wanted, kept.get(name, {}))
            if wanted.shape == got.shape and wanted.size and gap(wanted, got, limit.within) > limit.relative:
                return node
    return ""


def _taken(numbers: np.ndarray, kept: Mapping[int, list[int]]) -> np.ndarray:
    for axis, places in kept.items():
        numbers = numbers.take(places, axis=axis)
    return numbers
