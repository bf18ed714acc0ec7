"""What one ONNX node looks like to its torch function, and the table that finds the function.

An op function is plain torch code, ``f(node, *inputs) -> tensor or tuple``. It is called with tensors where everything
is known, and with torch.fx proxies where the graph is being recorded, so it must read shapes, types and constant inputs
from `node`, never from a tensor. What needs a tensor's own attributes goes into a plain function behind `call`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from onnxcompress.errors import ModelError

OpFunction = Callable[..., Any]


class OpTable(dict[str, OpFunction]):
    """Op functions by op type; types outside the default domain as ``domain::Type``."""

    def op(self, *names: str) -> Callable[[OpFunction], OpFunction]:
        """Register the decorated function under `names`."""

        def register(function: OpFunction) -> OpFunction:
            self.update(dict.fromkeys(names, function))
            return function

        return register


def _identity(tensor: torch.Tensor) -> Any:
    return tensor


@dataclass(frozen=True)
class OpNode:
    """One node as its op function sees it.

    Attributes:
        name: Node name, or its first output's where it has none.
        op_type: ONNX op type.
        opset: Version of the node's operator set.
        attributes: Plain Python values.
        shapes: Sizes of each input; None for an absent one.
        dtypes: Torch type of each input; None for an absent one.
        constants: The tensor of each input that is known while building; None for the others.
        kinds: ONNX type of each input; None where it is absent or unknown.
        outputs: Number of outputs, those at the end that nothing reads not counted.
        parts: Number of outputs that the node names.
        training: Batch statistics are used and followed (batch normalization only).
        lift: Makes a tensor that the function itself computed usable beside the inputs.
    """

    name: str
    op_type: str
    opset: int
    attributes: Mapping[str, Any]
    shapes: tuple[tuple[int, ...] | None, ...]
    dtypes: tuple[torch.dtype | None, ...]
    constants: tuple[torch.Tensor | None, ...]
    kinds: tuple[int | None, ...] = ()
    outputs: int = 1
    parts: int = 1
    training: bool = False
    lift: Callable[[torch.Tensor], Any] = field(default=_identity, repr=False)

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or `default`."""
        return self.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """True where input `index` is given."""
        return index < len(self.shapes) and self.shapes[index] is not None

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Sizes of input `index`."""
        found = self.shapes[index] if index < len(self.shapes) else None
        if found is None:
            raise self.refuse(f"its input {index} is missing", "Check the model with onnx.checker.")
        return found

    def rank(self, index: int = 0) -> int:
        """Number of axes of input `index`."""
        return len(self.shape(index))

    def axis(self, default: int, rank: int | None = None) -> int:
        """The attribute `axis`, counted from the front."""
        axis = int(self.attr("axis", default))
        return axis % (rank if rank is not None else max(self.rank(), 1))

    def is_float(self, index: int = 0) -> bool:
        """True where input `index` holds floating-point numbers."""
        dtype = self.dtypes[index]
        return dtype is not None and dtype.is_floating_point

    def constant(self, index: int) -> torch.Tensor:
        """The known value of input `index`.

        Raises:
            ModelError: Where it depends on the samples.
        """
        value = self.constants[index] if index < len(self.constants) else None
        if value is None:
            why = f"its input {index} depends on the samples, so the graph has no fixed shape to train"
            raise self.refuse(why, "Simplify the model, or cut it before that node.")
        return value

    def ints(self, index: int) -> list[int]:
        """The known integers of input `index`."""
        return [int(v) for v in self.constant(index).reshape(-1).tolist()]

    def ints_of(self, index: int, name: str) -> list[int] | None:
        """Integers that newer opsets give as input `index` and older ones as attribute `name`; None where absent."""
        if self.has(index):
            return self.ints(index)
        given = self.attr(name)
        return None if given is None else [int(v) for v in given]

    def refuse(self, why: str, hint: str) -> ModelError:
        """The error that names this node."""
        where = f"{self.op_type} node {self.name!r}"
        return ModelError("cannot train the model", where=where, why=why, hint=hint, code="MODEL-DISTILL-NODE")


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `function`, or record the call as one step where an argument is a torch.fx proxy."""
    proxy = next((a for a in args if isinstance(a, torch.fx.Proxy)), None)
    if proxy is None:
        return function(*args, **kwargs)
    return proxy.tracer.create_proxy("call_function", function, args, kwargs)
