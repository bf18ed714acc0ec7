"""How much of a model may not be cut, and for what reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxcompress.graph import label
from onnxcompress.report import Finding

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN", "Gather")
_WEIGHT_OF = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "Gather": (0,)}


def frozen_row(model: ir.Model, findings: Sequence[Finding]) -> dict[str, Any]:
    """Share of the weights whose every channel stays, heads apart; by reason code; and the outputs that hold them.

    Args:
        model: The model as the pass found it.
        findings: What the pass said.
    """
    weights = {label(node): size for node in model.graph if (size := _weights(node))}
    frozen = {f.node: f for f in findings if f.code.startswith("PRUNE-FROZEN") and f.node in weights}
    nodes = {label(node): node for node in model.graph}
    heads = {name for name in frozen if not _read_by_linear(nodes[name])}
    shares: Counter[str] = Counter()
    for name in set(frozen) - heads:
        shares[frozen[name].code] += weights[name]
    whole = max(sum(weights.values()), 1)
    return {
        "frozen": round(sum(shares.values()) / whole, 4),
        "heads": round(sum(weights[name] for name in heads) / whole, 4),
        "why": {code: round(size / whole, 4) for code, size in shares.most_common()},
        "held_by": _outputs(frozen[name] for name in set(frozen) - heads),
    }


def _weights(node: ir.Node) -> int:
    if node.op_type not in LINEAR or node.domain not in ("", "ai.onnx"):
        return 0
    indices = _WEIGHT_OF.get(node.op_type, range(len(node.inputs)))
    sizes = [_constant_size(node.inputs[i]) for i in indices if i < len(node.inputs)]
    return sum(sizes)


def _constant_size(value: ir.Value | None) -> int:
    """Elements of the matrix behind an input, also through DequantizeLinear and the like."""
    while value is not None and value.const_value is None:
        maker = value.producer()
        if maker is None or maker.op_type not in ("DequantizeLinear", "Identity", "Cast", "Transpose"):
            return 0
        value = maker.inputs[0]
    tensor = None if value is None else value.const_value
    return tensor.size if tensor is not None and len(tensor.shape) > 1 else 0


def _read_by_linear(node: ir.Node) -> bool:
    """Whether another linear node lies behind this one; without one it is a head."""
    seen: set[ir.Node] = set()
    ahead = [reader for output in node.outputs for reader, _ in output.uses()]
    while ahead:
        reader = ahead.pop()
        if reader in seen:
            continue
        seen.add(reader)
        if _weights(reader):
            return True
        ahead += [after for output in reader.outputs for after, _ in output.uses()]
    return False


def _outputs(findings: Iterable[Finding]) -> Mapping[str, int]:
    """What ``--allow-output`` takes to free them, with how many layers each holds."""
    named = (match[1] for f in findings if (match := re.search(r"--allow-output (\S+)", f.message)))
    return dict(Counter(named).most_common(4))
