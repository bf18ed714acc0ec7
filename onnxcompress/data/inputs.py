"""What a model asks of its data: one `InputSpec` an input, read from the graph alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import ModelError

Dim: TypeAlias = int | str | None


@dataclass(frozen=True)
class InputSpec:
    """One graph input that a caller must feed.

    Attributes:
        name: Its name.
        dtype: The numpy dtype it takes (`object` for strings).
        dims: Fixed sizes, symbols, or None for an unnamed dynamic size; None as a whole where the rank is unknown.
        batch_axis: The axis that counts samples; None where one run takes one whole tensor (a scalar, a cache).
    """

    name: str
    dtype: np.dtype
    dims: tuple[Dim, ...] | None
    batch_axis: int | None

    @property
    def sample_dims(self) -> tuple[Dim, ...] | None:
        """Sizes of one sample: the dims without the batch axis."""
        if self.dims is None or self.batch_axis is None:
            return self.dims
        return self.dims[: self.batch_axis] + self.dims[self.batch_axis + 1 :]

    def __str__(self) -> str:
        dims = "?" if self.dims is None else " x ".join("?" if d is None else str(d) for d in self.dims)
        return f"{self.name!r} ({self.dtype}, {dims or 'scalar'})"


def input_specs(model: ir.Model) -> list[InputSpec]:
    """Every input that has no default value, in the graph's order.

    The batch symbol is the first symbolic leading dimension; an input that carries it elsewhere (an RNN state of
    1 x N x H) has its batch axis there. Without any symbol, leading sizes of 1 are a batch of one.
    """
    values = [v for v in model.graph.inputs if not v.is_initializer()]
    dims = {v.name or "": dims_of(v) for v in values}
    dynamic: list[Dim] = [d[0] for d in dims.values() if d and not isinstance(d[0], int)]
    return [
        InputSpec(name, _dtype_of(value), dims[name], _batch_axis(dims[name], dynamic))
        for value in values
        for name in [value.name or ""]
    ]


def dims_of(value: ir.Value) -> tuple[Dim, ...] | None:
    """The declared dims of a value: int, symbol, or None where nothing is known."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


def _batch_axis(dims: tuple[Dim, ...] | None, dynamic: list[Dim]) -> int | None:
    if dims is None:
        return 0
    if not dims:
        return None
    if not isinstance(dims[0], int):
        return 0
    if not dynamic:
        return 0 if dims[0] == 1 else None
    symbol = dynamic[0]
    return dims.index(symbol) if symbol is not None and symbol in dims else None


def _dtype_of(value: ir.Value) -> np.dtype:
    if not isinstance(value.type, ir.TensorType):
        raise ModelError(
            "cannot feed the model",
            where=f"input {value.name!r}",
            why=f"it takes {value.type}, and only tensors can be fed from data",
            hint="Cut the model behind that input, e.g. with onnx.utils.extract_model.",
            code="MODEL-INPUT-TYPE",
        )
    return np.dtype(object) if value.type.dtype == ir.DataType.STRING else np.dtype(value.type.dtype.numpy())
