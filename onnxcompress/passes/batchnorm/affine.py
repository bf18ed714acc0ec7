"""A BatchNormalization node read as y = scale x + shift, or the reason why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute

# Up to opset 6 the node trains unless `is_test` says otherwise.
_FIRST_AT_INFERENCE = 7
_DEFAULT_EPSILON = 1e-5


class LeftAlone(Exception):  # noqa: N818
    """A node stays as it is; carries the finding's code and sentence.

    Args:
        code: Reason code.
        message: One sentence for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Affine:
    """y = scale x + shift for each channel of axis 1; both float64 of shape (channels,)."""

    scale: np.ndarray
    shift: np.ndarray


def affine_of(node: ir.Node, opset: int) -> Affine:
    """Scale and shift of a BatchNormalization.

    Raises:
        LeftAlone: Where it trains, its parameters are not constant, or they have no finite scale.
    """
    _require_inference(node, opset)
    arrays = [array_of(v) for v in node.inputs[1:5]]
    if len(arrays) < 4 or any(a is None for a in arrays):
        raise LeftAlone("FOLD-NOT-CONSTANT", "the parameters of the normalization are not all constants")
    gain, offset, mean, variance = (np.asarray(a, dtype=np.float64).reshape(-1) for a in arrays)
    spread = variance + float(attribute(node, "epsilon", _DEFAULT_EPSILON))
    if not np.all(spread > 0):
        raise LeftAlone("FOLD-VARIANCE", "variance + epsilon is not above 0 in every channel")
    scale = gain / np.sqrt(spread)
    shift = offset - mean * scale
    if not (np.all(np.isfinite(scale)) and np.all(np.isfinite(shift))):
        raise LeftAlone("FOLD-NOT-FINITE", "the parameters of the normalization are not all finite")
    return Affine(scale, shift)


def _require_inference(node: ir.Node, opset: int) -> None:
    named = [v for v in node.outputs if v.name]
    if attribute(node, "training_mode", 0) or len(named) > 1 or opset < _FIRST_AT_INFERENCE:
        raise LeftAlone("FOLD-TRAINING", "the normalization computes the statistics of its batch")
    if not attribute(node, "spatial", 1):
        raise LeftAlone("FOLD-NOT-SPATIAL", "the normalization has one parameter an element, not one a channel")
