"""What is known about every tensor's shape: symbolic dims, concrete sizes under one probe, data type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.report import Finding
from onnxcompress.runtime.batching import Dim


@dataclass
class ShapeTable:
    """Shapes by value name. Names of the main graph come first; a name that two bodies use differently is unknown.

    Attributes:
        feeds: The inputs under which `probe` holds.
        symbols: Sizes of the input symbols under those inputs.
        batch: Samples in the probe (1 where the model has no free batch axis).
        batch_names: Symbols that stand for the batch.
        notes: What could not be found out, and why.
    """

    feeds: Mapping[str, np.ndarray] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    batch: int = 1
    batch_names: tuple[str, ...] = ()
    notes: list[Finding] = field(default_factory=list)
    _dims: dict[str, tuple[Dim, ...]] = field(default_factory=dict, repr=False)
    _probe: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    _dtype: dict[str, ir.DataType] = field(default_factory=dict, repr=False)
    _values: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def dims(self, name: str | None) -> tuple[Dim, ...] | None:
        """Ints for fixed axes, symbols (or expressions of them) for free ones, None for an unknown axis."""
        return self._dims.get(name or "")

    def probe(self, name: str | None) -> tuple[int, ...] | None:
        """Sizes under the probe; None where they are not known."""
        return self._probe.get(name or "")

    def dtype(self, name: str | None) -> ir.DataType | None:
        """Data type of the elements; None where it is not known."""
        return self._dtype.get(name or "")

    def value(self, name: str | None) -> np.ndarray | None:
        """The numbers of a small integer tensor under the probe (a shape, an index), where they were observed."""
        return self._values.get(name or "")

    def size_note(self, origin: str = "guessed") -> str:
        """A sentence on the free sizes other than the batch that figures hold for; empty where there are none.

        Args:
            origin: Where the sizes come from: ``guessed``, ``samples`` or ``given``.
        """
        free = {name: size for name, size in self.symbols.items() if name not in self.batch_names}
        sizes = ", ".join(f"{name} = {size}" for name, size in sorted(free.items()))
        end = {"given": "", "samples": ", as the first sample has it"}.get(origin, "; give --shape for other sizes")
        return f"multiply-adds are counted at {sizes}{end}" if sizes else ""

    def names(self) -> tuple[str, ...]:
        """Every tensor that the table knows something about, sorted."""
        return tuple(sorted({*self._dims, *self._probe, *self._dtype}))

    def learn(self, name: str, dims: tuple[Dim, ...] | None, dtype: ir.DataType | None = None) -> None:
        """Merge what one stage found: a known size is never replaced by an unknown one."""
        if dtype is not None and dtype != ir.DataType.UNDEFINED:
            self._dtype.setdefault(name, dtype)
        if dims is None:
            return
        old = self._dims.get(name)
        if old is None or len(old) != len(dims):
            self._dims[name] = tuple(dims)
        else:
            self._dims[name] = tuple(_better(a, b) for a, b in zip(old, dims, strict=True))
        self._resolve(name)

    def observe(self, name: str, array: np.ndarray) -> None:
        """Take over what a run under the probe showed."""
        self._probe[name] = tuple(array.shape)
        if array.size <= 64 and array.dtype.kind in "iub":
            self._values[name] = array

    def observe_sizes(self, name: str, sizes: tuple[int, ...]) -> None:
        """Take over the sizes alone that a run under the probe showed."""
        self._probe[name] = sizes

    def settle(self, name: str, sizes: tuple[int, ...], dtype: ir.DataType | None) -> None:
        """Take over the sizes of a tensor inside a body; one name with two sizes stays unknown."""
        if self._probe.setdefault(name, sizes) != sizes:
            self.forget(name)
        elif dtype is not None:
            self._dtype.setdefault(name, dtype)

    def forget(self, name: str) -> None:
        """Drop what is known about a name that stands for different tensors."""
        for kept in (self._dims, self._probe, self._dtype, self._values):
            kept.pop(name, None)

    def _resolve(self, name: str) -> None:
        sizes = [dim if isinstance(dim, int) else evaluate(dim, self.symbols) for dim in self._dims[name]]
        known = tuple(size for size in sizes if size is not None)
        if len(known) == len(sizes):
            self._probe.setdefault(name, known)


def _better(old: Dim, new: Dim) -> Dim:
    if isinstance(old, int) or new is None:
        return old
    return new if old is None or isinstance(new, int) else old


def evaluate(dim: str | None, symbols: Mapping[str, int]) -> int | None:
    """Size of a symbol or of an expression of symbols; None where a symbol has no size."""
    if dim is None:
        return None
    if dim in symbols:
        return symbols[dim]
    expression = ir.SymbolicDim(dim)
    try:
        if not expression.free_symbols() <= set(symbols):
            return None
        result = expression.evaluate(symbols)
    except (ValueError, TypeError, SyntaxError, AttributeError):
        return None
    return result if isinstance(result, int) else None
