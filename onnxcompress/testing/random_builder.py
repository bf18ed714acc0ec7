"""A graph under construction: nodes, weights drawn from one seeded generator, and the shapes of what is alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

# The batch that shapes are tracked with; a symbol in the model where the batch is dynamic.
BATCH = 2


@dataclass
class Builder:
    """What has been built so far.

    Attributes:
        rng: The only source of chance.
        opset: Version of the default operator set.
        dynamic: The batch is the symbol ``N`` instead of a number.
        nodes: In topological order.
        inputs: Model inputs.
        weights: Initializers by name.
        alive: Float tensors that a node may read, by value, with the shape they have at a batch of `BATCH`.
    """

    rng: np.random.Generator
    opset: int
    dynamic: bool
    nodes: list[ir.Node] = field(default_factory=list)
    inputs: list[ir.Value] = field(default_factory=list)
    weights: dict[str, ir.Value] = field(default_factory=dict)
    alive: dict[ir.Value, tuple[int, ...]] = field(default_factory=dict)
    _count: int = 0

    def name(self, prefix: str) -> str:
        """A name that is not in use."""
        self._count += 1
        return f"{prefix}{self._count}"

    def input(self, shape: tuple[int, ...], dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        """A new model input of this shape; its first axis is the batch."""
        dims = ("N" if self.dynamic else BATCH, *shape[1:])
        value = ir.Value(name=self.name("x"), shape=ir.Shape(dims), type=ir.TensorType(dtype))
        self.inputs.append(value)
        if dtype == ir.DataType.FLOAT:
            self.alive[value] = shape
        return value

    def constant(self, array: np.ndarray, prefix: str = "w") -> ir.Value:
        """A constant: an initializer, or now and then a Constant node."""
        name = self.name(prefix)
        tensor = ir.tensor(array, name=name)
        if self.chance(0.2):
            attributes = [ir.AttrTensor("value", tensor)]
            node = ir.Node("", "Constant", [], attributes, outputs=[ir.Value(name=name)], name=self.name("node"))
            self.nodes.append(node)
            return node.outputs[0]
        shape, kind = ir.Shape(array.shape), ir.TensorType(tensor.dtype)
        self.weights[name] = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
        return self.weights[name]

    def ints(self, *values: int) -> ir.Value:
        """A constant int64 vector."""
        return self.constant(np.asarray(values, dtype=np.int64), "k")

    def normal(self, *shape: int, scale: float = 1.0) -> ir.Value:
        """A float32 weight drawn from a normal distribution."""
        return self.constant((self.rng.normal(size=shape) * scale).astype(np.float32))

    def positive(self, *shape: int) -> ir.Value:
        """A float32 weight drawn evenly from 0.5 to 1.5."""
        return self.constant(self.rng.uniform(0.5, 1.5, size=shape).astype(np.float32))

    def node(
        self, op_type: str, inputs: Sequence[ir.Value | None], outputs: int = 1, **attributes: Any
    ) -> list[ir.Value]:
        """Append a node and give its outputs; they are not alive before `keep` says so."""
        made = [ir.Value(name=self.name("v")) for _ in range(outputs)]
        attrs = ir.convenience.convert_attributes(attributes)
        self.nodes.append(ir.Node("", op_type, inputs, attrs, outputs=made, name=self.name("node")))
        return made

    def keep(self, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        """Make `value` a tensor that later nodes may read."""
        self.alive[value] = tuple(int(d) for d in shape)
        return value

    def pick(self, rank: int | None = None) -> tuple[ir.Value, tuple[int, ...]] | None:
        """A live tensor of this rank, late ones more often; None where there is none."""
        fitting = [v for v, shape in self.alive.items() if rank is None or len(shape) == rank]
        if not fitting:
            return None
        odds = np.arange(1, len(fitting) + 1, dtype=float) ** 2
        value = fitting[int(self.rng.choice(len(fitting), p=odds / odds.sum()))]
        return value, self.alive[value]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def among(self, *choices: Any) -> Any:
        """One of `choices`."""
        return choices[int(self.rng.integers(len(choices)))]
