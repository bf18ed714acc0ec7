"""What OpenVINO's CPU plugin refuses in a quantized model, or runs in float32 in spite of it.

Source: runs of OpenVINO 2026.4.1, whose execution graph tells the precision of each layer, and its documentation of
low precision transformations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, is_constant
from onnxcompress.passes.quantization.lint.rule import Place, Rule

_RUN = "OpenVINO 2026.4.1, precisions in the execution graph"
_LPT = "OpenVINO documentation, Low Precision Transformations"
_WIDE = (ir.DataType.INT16, ir.DataType.UINT16)
_FLOAT = "runs in float"


def _wide(place: Place) -> Iterator[str]:
    if place.kind not in _WIDE:
        return
    assert place.kind is not None
    readers = {use.node.op_type for out in place.node.outputs for use in out.uses()}
    pool = "; MaxPool on it does not even compile" if "MaxPool" in readers else ""
    yield f"{place.kind.name} activations have no integer kernels{pool}"


def _conv_weight(place: Place) -> Iterator[str]:
    weight = place.pair(1)
    if weight is None or not is_constant(weight.input(0)):
        return
    if weight.kind == ir.DataType.UINT8:
        yield "its weight is UINT8; INT8 with zero point 0 is wanted"
    elif weight.zero is not None and np.any(weight.zero.astype(np.float32) != 0):
        yield "its weight has a zero point other than 0"


def _two_activations(place: Place) -> Iterator[str]:
    pairs = [place.pair(i) for i in (0, 1)]
    if any(p is None or is_constant(p.input(0)) for p in pairs):
        return
    for pair in pairs:
        if pair is not None and (pair.kind != ir.DataType.INT8 or (pair.zero is not None and np.any(pair.zero != 0))):
            yield "both of its factors depend on the samples, and one is not INT8 with zero point 0"
            return


def _pad(place: Place) -> Iterator[str]:
    pair = place.pair(0)
    if pair is not None and pair.kind == ir.DataType.UINT8 and attribute(place.node, "mode", "constant") == "constant":
        yield "its input is UINT8; it stays an integer operator on INT8"


def _contrib(place: Place) -> Iterator[str]:
    if place.node.domain == "com.microsoft":
        yield "it is an operator of ONNX Runtime's own"


RULES: tuple[Rule, ...] = (
    Rule("LINT-16-BIT", _RUN, _wide, effect=_FLOAT),
    Rule("LINT-CONV-WEIGHT", _LPT, _conv_weight, ops=("Conv",), effect=_FLOAT),
    Rule("LINT-TWO-ACTIVATIONS", _RUN, _two_activations, ops=("MatMul",), effect=_FLOAT),
    Rule("LINT-PAD", _RUN, _pad, ops=("Pad",), effect=_FLOAT),
    Rule("LINT-DOMAIN", _RUN, _contrib, ops=()),
)
