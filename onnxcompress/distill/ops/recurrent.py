"""LSTM, GRU and RNN by torch's fused kernels; ONNX's gates are put into torch's order.

ONNX stacks LSTM gates i o f c, torch i f g o; ONNX stacks GRU gates z r h, torch r z n (h = n). Torch's GRU is ONNX's
with linear_before_reset = 1; the other form runs step by step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@OPS.op("LSTM", "GRU", "RNN")
def recurrent(
    node: OpNode,
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    h: Any = None,
    c: Any = None,
    p: Any = None,
) -> Any:
    """Outputs Y [T, D, N, H], Y_h and, for LSTM, Y_c [D, N, H]."""
    _check(node)
    both, back = node.attr("direction", "forward") == "bidirectional", node.attr("direction", "forward") == "reverse"
    batch_first = bool(node.attr("layout", 0))
    if batch_first:
        x = x.transpose(0, 1)
        h, c = (None if s is None else s.transpose(0, 1) for s in (h, c))
    x = torch.flip(x, [0]) if back else x
    settings = {"kind": _kind(node), "linear_before_reset": bool(node.attr("linear_before_reset", 0)), "both": both}
    states = call(_run, x, w, r, b, h, c, **settings)
    y, last = states[0], states[1]
    y = torch.flip(y, [0]) if back else y
    cell = states[2] if node.op_type == "LSTM" else None
    if batch_first:
        y, last = torch.permute(y, [2, 0, 1, 3]), last.transpose(0, 1)
        cell = None if cell is None else cell.transpose(0, 1)
    return (y, last) if cell is None else (y, last, cell)


def _check(node: OpNode) -> None:
    directions = 2 if node.attr("direction", "forward") == "bidirectional" else 1
    default = _DEFAULT[node.op_type] * directions
    given = [a.decode() if isinstance(a, bytes) else a for a in node.attr("activations") or default]
    relu = node.op_type == "RNN" and set(given) == {"Relu"}
    hint = "Train the model with the default form of that layer, or cut it before that node."
    if given != default and not relu:
        raise node.refuse(f"its activations are {given}", hint)
    if node.attr("clip") or node.attr("input_forget", 0):
        raise node.refuse("it uses clip or input_forget", hint)
    if node.has(7):
        raise node.refuse("it has peepholes", hint)
    steps = node.shape()[1 if node.attr("layout", 0) else 0]
    if node.has(4) and any(n != steps for n in node.ints(4)):
        raise node.refuse("its sequences have different lengths", "Give samples of one length.")


def _kind(node: OpNode) -> str:
    relu = node.op_type == "RNN" and "Relu" in [
        a if isinstance(a, str) else a.decode() for a in node.attr("activations") or ()
    ]
    return "RNN_RELU" if relu else node.op_type


def _gates(tensor: torch.Tensor, op_type: str) -> torch.Tensor:
    order = _ORDER[op_type.removesuffix("_RELU")]
    parts = tensor.chunk(len(order), 0)
    return torch.cat([parts[i] for i in order], 0)


def _run(
    x: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    b: torch.Tensor | None,
    h: torch.Tensor | None,
    c: torch.Tensor | None,
    *,
    kind: str,
    linear_before_reset: bool,
    both: bool,
) -> tuple[torch.Tensor, ...]:
    """The whole sequence; x is [T, N, I]."""
    directions, hidden = w.shape[0], r.shape[-1]
    start = x.new_zeros(directions, x.shape[1], hidden) if h is None else h
    cell = x.new_zeros(start.shape) if c is None else c
    if kind == "GRU" and not linear_before_reset:
        return _gru_reset_first(x, w, r, b, start)
    flat: list[torch.Tensor] = []
    for d in range(directions):
        flat += [_gates(w[d], kind), _gates(r[d], kind)]
        if b is not None:
            flat += [_gates(part, kind) for part in b[d].chunk(2, 0)]
    tail = (flat, b is not None, 1, 0.0, False, both, False)
    if kind == "LSTM":
        y, last, last_cell = torch.lstm(x, [start.contiguous(), cell.contiguous()], *tail)
        return _split(y, directions), last, last_cell
    function = {"GRU": torch.gru, "RNN": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}[kind]
    y, last = function(x, start.contiguous(), *tail)
    return _split(y, directions), last


def _split(y: torch.Tensor, directions: int) -> torch.Tensor:
    """[T, N, D*H] as ONNX's [T, D, N, H]."""
    steps, batch, width = y.shape
    return y.reshape(steps, batch, directions, width // directions).transpose(1, 2)


def _gru_reset_first(
    x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, b: torch.Tensor | None, start: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """ONNX's default GRU: the reset gate is applied before the recurrent product."""
    outputs, lasts = [], []
    for d in range(w.shape[0]):
        turned = torch.flip(x, [0]) if d == 1 else x
        bias = None if b is None else b[d].chunk(2, 0)
        y = _reset_first_direction(turned, w[d], r[d], bias, start[d])
        lasts.append(y[-1])
        outputs.append(torch.flip(y, [0]) if d == 1 else y)
    return torch.stack(outputs, 1), torch.stack(lasts, 0)


def _reset_first_direction(
    x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, bias: Any, h: torch.Tensor
) -> torch.Tensor:
    hidden = r.shape[-1]
    given = nnf.linear(x, w, None if bias is None else bias[0] + bias[1])
    steps: list[torch.Tensor] = []
    for row in given:
        gates = torch.sigmoid(row[:, : 2 * hidden] + nnf.linear(h, r[: 2 * hidden]))
        update, reset = gates.chunk(2, 1)
        new = torch.tanh(row[:, 2 * hidden :] + nnf.linear(reset * h, r[2 * hidden :]))
        h = (1 - update) * new + update * h
        steps.append(h)
    return torch.stack(steps, 0)
