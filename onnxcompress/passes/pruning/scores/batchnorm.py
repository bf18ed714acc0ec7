"""BatchNorm scale: |gamma_i| of the BatchNormalization behind a channel, the standard deviation of what it puts out.

Source: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (ICCV 2017,
arXiv:1708.06519). The scale is read where the BatchNormalization stands in the graph, or, where a pass of this run has
folded it into the weights, from the model as it came in, by the name of the node before it. A file whose exporter
folded it holds no gamma any more; those channels get NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, label
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.trace import Trace, array

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context


def batchnorm(found: Trace, ctx: Context) -> np.ndarray:
    """One number an atom: the mean over its class of |gamma| over its layer's mean; NaN without any. Needs no data."""
    total, count = np.zeros(len(found.atoms)), np.zeros(len(found.atoms))
    for ids, gamma in [*_standing(found), *_folded(found, ctx.original)]:
        size = np.abs(gamma.astype(np.float64))
        roots = found.atoms.roots(ids)
        np.add.at(total, roots, size / (size.mean() or 1.0))
        np.add.at(count, roots, 1.0)
    mean = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    return mean[found.atoms.roots(np.arange(len(found.atoms)))]


def _standing(found: Trace) -> list[tuple[Ids, np.ndarray]]:
    """Atoms and scales of the BatchNormalizations of the traced model."""
    result: list[tuple[Ids, np.ndarray]] = []
    for node in found.model.graph:
        gamma = array(node.inputs[1]) if node.op_type == "BatchNormalization" else None
        lists = found.labels.get(node.outputs[0], []) if node.outputs else []
        ids = lists[1] if len(lists) > 1 else None
        if gamma is not None and ids is not None and len(gamma) == len(ids):
            result.append((ids, gamma))
    return result


def _folded(found: Trace, original: ir.Model) -> list[tuple[Ids, np.ndarray]]:
    """The same for those that stood behind a producer in `original` and are gone."""
    here = {label(node) for node in found.model.graph if node.op_type == "BatchNormalization"}
    producers = {name: p for p in found.producers for name in (label(p.node), p.node.outputs[0].name or "")}
    result: list[tuple[Ids, np.ndarray]] = []
    for node in original.graph:
        if node.op_type != "BatchNormalization" or label(node) in here or node.inputs[0] is None:
            continue
        maker, gamma = node.inputs[0].producer(), array_of(node.inputs[1])
        if maker is None:
            continue
        # Once folded, the node before it makes its output under the same name.
        producer = producers.get(label(maker)) or producers.get(node.outputs[0].name or "")
        if producer is not None and gamma is not None and len(gamma) == len(producer.ids):
            result.append((producer.ids, gamma))
    return result
