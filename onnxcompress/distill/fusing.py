"""Steps of a recorded graph that torch does as one: attention, and a product with its bias.

    softmax((a Q) (b K^T)) V    ->  scaled_dot_product_attention(Q, K, V, scale=a b), which keeps no scores for the
                                    backward pass
    X W + b                     ->  linear(X, W^T, b), which adds b in the product

Exporters put a number on Q, on K or on both. A step is left as it is where something else reads a tensor inside it (a
hint, an output), where the scores are changed before the softmax (a row that a mask hides throughout has a rule of its
own, see `ops.elementwise.call_softmax`), where axes are broadcast, and in other types than float32.

A fused step stands at the place, and under the name, of the last one that it takes in.

Source: Dao et al. 2022 (FlashAttention, arXiv 2205.14135); torch has a form of it for processors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch.fx import Graph, Node
from torch.nn import functional as nnf

from onnxcompress.distill.ops.elementwise import call_softmax

SIZES, TYPE = "sizes", "type"
LIFTED = "constant_"
_RANK = 4


def fuse(graph: Graph, attributes: Mapping[str, torch.Tensor]) -> None:
    """Put steps together in place; what is then unread is left for `eliminate_dead_code`.

    Args:
        graph: Recorded; its nodes carry their sizes and types as metadata where they are tensors of the model.
        attributes: The tensors that it holds by name.
    """
    for node in list(graph.nodes):
        if node.target is torch.matmul and len(node.args) == 2:
            _attention(graph, node, attributes)
        elif node.target is torch.add and len(node.args) == 2 and not node.kwargs:
            _linear(graph, node, attributes)


def _attention(graph: Graph, node: Node, attributes: Mapping[str, torch.Tensor]) -> None:
    weights, values = node.args
    scores = _inner(weights, call_softmax)
    product = None if scores is None or scores.args[1] != _RANK - 1 else _inner(scores.args[0], torch.matmul)
    if product is None or not isinstance(values, Node):
        return
    sides = cast("tuple[Node, Node]", product.args)
    if not _fit(*sides, values):
        return
    (query, a), (turned, b) = (_unscaled(side, attributes) for side in sides)
    with graph.inserting_before(node):
        key = graph.call_method("transpose", (turned, -1, -2))
    node.target, node.args, node.kwargs = nnf.scaled_dot_product_attention, (query, key, values), {"scale": a * b}


def _unscaled(node: Node, attributes: Mapping[str, torch.Tensor]) -> tuple[Node, float]:
    """What is multiplied with a number that nothing trains, and that number; the node and 1 where there is none."""
    product = _inner(node, torch.mul)
    for tensor, number in () if product is None else (product.args, product.args[::-1]):
        held = attributes.get(str(number.target)) if isinstance(number, Node) and number.op == "get_attr" else None
        if held is None or held.numel() != 1 or not str(number).startswith(LIFTED):
            continue
        if isinstance(tensor, Node) and tensor.meta.get(SIZES) == node.meta.get(SIZES) and _are_float(tensor):
            return tensor, float(held)
    return node, 1.0


def _linear(graph: Graph, node: Node, attributes: Mapping[str, torch.Tensor]) -> None:
    for product, bias in (node.args, node.args[::-1]):
        found = _inner(product, torch.matmul)
        held = attributes.get(str(bias.target)) if isinstance(bias, Node) and bias.op == "get_attr" else None
        if found is None or held is None or held.ndim != 1:
            continue
        rows, weight = cast("tuple[Node, Node]", found.args)
        if not _is_product(rows, weight, held):
            continue
        with graph.inserting_before(node):
            turned = graph.call_method("t", (weight,))
        node.target, node.args = nnf.linear, (rows, turned, bias)
        return


def _inner(node: object, target: object) -> Node | None:
    """The node where it is a step of this kind that one other reads."""
    return node if isinstance(node, Node) and node.target is target and len(node.users) == 1 else None


def _fit(query: Node, turned: Node, values: Node) -> bool:
    """True for [B, H, S, D], [B, H, D, T] and [B, H, T, E] of float32."""
    q, k, v = (node.meta.get(SIZES, ()) for node in (query, turned, values))
    if any(len(sizes) != _RANK for sizes in (q, k, v)) or not _are_float(query, turned, values):
        return False
    return q[:2] == k[:2] == v[:2] and (q[3], k[3]) == (k[2], v[2])


def _is_product(rows: Node, weight: Node, bias: torch.Tensor) -> bool:
    """True for [..., K] times [K, N] of float32, and N numbers to add."""
    x, w = rows.meta.get(SIZES, ()), weight.meta.get(SIZES, ())
    fits = len(x) >= 2 and len(w) == 2 and w[1] == len(bias)
    return fits and bias.dtype is torch.float32 and _are_float(rows, weight)


def _are_float(*nodes: Node) -> bool:
    return all(node.meta.get(TYPE) is torch.float32 for node in nodes)
