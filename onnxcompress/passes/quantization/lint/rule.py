"""A rule of a runtime, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, tensor_of

QDQ = ("QuantizeLinear", "DequantizeLinear")


class Place:
    """A node, and the facts about it that rules ask for.

    Args:
        model: The model that it stands in.
        node: The node.
    """

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        self.model, self.node = model, node

    def input(self, index: int) -> ir.Value | None:
        """The input at `index`, None where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def pair(self, index: int) -> Place | None:
        """The DequantizeLinear that the input at `index` comes from."""
        value = self.input(index)
        producer = value.producer() if value is not None else None
        return Place(self.model, producer) if producer is not None and producer.op_type == QDQ[1] else None

    @cached_property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.model.graph.opset_imports.get("", 0)

    @cached_property
    def scale(self) -> np.ndarray | None:
        """The scales; None where they are computed while the model runs."""
        return array_of(self.input(1))

    @cached_property
    def zero(self) -> np.ndarray | None:
        """The zero points; None where there are none, or they are computed while the model runs."""
        return array_of(self.input(2))

    @cached_property
    def weight(self) -> ir.TensorProtocol | None:
        """What is quantized, where that is constant: a weight or a bias."""
        return tensor_of(self.input(0))

    @cached_property
    def shape(self) -> tuple[int | None, ...] | None:
        """Dims of what is quantized, None for a free one; None where they are not known."""
        if self.weight is not None:
            return tuple(self.weight.shape.numpy())
        value = self.input(0)
        if value is None or value.shape is None:
            return None
        return tuple(d if isinstance(d, int) else None for d in value.shape)

    @cached_property
    def kind(self) -> ir.DataType | None:
        """The type that is quantized to; None for a QuantizeLinear that does not say (uint8 by the standard)."""
        zero = tensor_of(self.input(2)) or self.input(2)
        if zero is not None:
            return zero.dtype
        said = attribute(self.node, "output_dtype", 0)
        if self.node.op_type == "QuantizeLinear":
            return ir.DataType(said) if said else None
        if self.weight is not None:
            return self.weight.dtype
        source = self.input(0)
        producer = source.producer() if source is not None else None
        if source is not None and source.dtype is None and producer is not None:
            return Place(self.model, producer).kind if producer.op_type == "QuantizeLinear" else None
        return source.dtype if source is not None else None


@dataclass(frozen=True)
class Rule:
    """One rule of a runtime.

    Attributes:
        code: Stable code of the finding, ``LINT-...``.
        source: The document or code that it is taken from.
        check: Yields a sentence for each way in which a node breaks it.
        ops: Operators that it is about; all where empty.
        effect: What the runtime does then, as a verb: ``refuses``, ``runs in float``.
    """

    code: str
    source: str
    check: Callable[[Place], Iterator[str]]
    ops: tuple[str, ...] = QDQ
    effect: str = "refuses"

    def applies(self, node: ir.Node) -> bool:
        """True where the rule is about this operator."""
        return not self.ops or node.op_type in self.ops
