"""Inputs of operators that hold what is learned, by operator and domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

_OURS = ("", "ai.onnx")


@dataclass(frozen=True)
class Slots:
    """Which inputs of one operator are parameters, and of what role.

    Attributes:
        weights: Products' factors and tables.
        biases: What is added.
        norms: Scales and shifts of a normalization.
        linear: The operator is a product with its weights.
    """

    weights: tuple[int, ...] = ()
    biases: tuple[int, ...] = ()
    norms: tuple[int, ...] = ()
    linear: bool = False

    @property
    def roles(self) -> Mapping[int, str]:
        """The role of each input."""
        named = (("weight", self.weights), ("bias", self.biases), ("norm", self.norms))
        return {place: role for role, places in named for place in places}


_CONV = Slots((1,), (2,), linear=True)
_GEMM = Slots((0, 1), (2,), linear=True)
_MATMUL = Slots((0, 1), linear=True)
_CELL = Slots((1, 2), (3,), linear=True)
_SHIFTED, _SCALED = Slots(norms=(1, 2)), Slots(norms=(1,))
_ACTIVATED = Slots(biases=(1,))
_TABLE: Mapping[str, Slots] = {
    "Conv": _CONV,
    "ConvTranspose": _CONV,
    "Gemm": _GEMM,
    "MatMul": _MATMUL,
    "Einsum": Slots((0, 1, 2)),
    "LSTM": _CELL,
    "GRU": _CELL,
    "RNN": _CELL,
    "Gather": Slots((0,)),
    "PRelu": Slots((1,)),
    "BatchNormalization": _SHIFTED,
    "LayerNormalization": _SHIFTED,
    "InstanceNormalization": _SHIFTED,
    "GroupNormalization": _SHIFTED,
    "RMSNormalization": _SCALED,
    "SimplifiedLayerNormalization": _SCALED,
    "com.microsoft::FusedConv": _CONV,
    "com.microsoft::FusedGemm": _GEMM,
    "com.microsoft::FusedMatMul": _MATMUL,
    "com.microsoft::TransposeMatMul": _MATMUL,
    "com.microsoft::MatMulNBits": Slots((1,), (5,), linear=True),
    "com.microsoft::Attention": Slots((1,), (2,), linear=True),
    "com.microsoft::MultiHeadAttention": Slots(biases=(3,)),
    "com.microsoft::BiasGelu": _ACTIVATED,
    "com.microsoft::FastGelu": _ACTIVATED,
    "com.microsoft::EmbedLayerNormalization": Slots((2, 3, 4), norms=(5, 6)),
    "com.microsoft::SkipLayerNormalization": Slots(biases=(4,), norms=(2, 3)),
    "com.microsoft::SkipSimplifiedLayerNormalization": Slots(biases=(3,), norms=(2,)),
}
_NONE = Slots()


def slots_of(node: ir.Node) -> Slots:
    """The parameters of a node; none of an operator of another domain, whatever its name."""
    return _TABLE.get(node.op_type if node.domain in _OURS else f"{node.domain}::{node.op_type}", _NONE)
