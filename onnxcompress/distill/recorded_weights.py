"""The recorded form of constants: plain weights, weights on their grid, scales that have grown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir
import torch

from onnxcompress.distill.fake_quant import along, grown, to_grid
from onnxcompress.distill.grids import Grid
from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.origins import stored
from onnxcompress.distill.tape import Slot, Tape
from onnxcompress.distill.weights import Weight
from onnxcompress.errors import ModelError


class RecordedWeights:
    """Puts stored numbers on a tape.

    Args:
        tape: The tape.
        index: Position of each weight's value.
        weights: The weights.
        parameters: Their tensors.
        follow: Bias scales with the trained scales that they are products of.
        look: Finds the slot of another value.
    """

    def __init__(
        self,
        tape: Tape,
        index: Mapping[ir.Value, int],
        weights: Sequence[Weight],
        parameters: Sequence[torch.Tensor],
        follow: Mapping[ir.Value, tuple[ir.Value, ...]],
        look: Callable[[ir.Value], Slot],
    ) -> None:
        self._tape, self._index, self._weights, self._parameters = tape, index, weights, parameters
        self._follow, self._look = follow, look

    def slot(self, value: ir.Value) -> Slot:
        """The slot of a constant.

        Raises:
            ModelError: Where it has no numbers.
        """
        tensor = stored(value)
        if tensor is None:
            hint = "Check the model with onnx.checker, and that every input is fed."
            what, where = "cannot train the model", f"tensor {value.name!r}"
            raise ModelError(what, where=where, why="it has no value", hint=hint, code="MODEL-NO-TENSOR")
        if value in self._follow:
            return self._grown(value, [self._growth(factor) for factor in self._follow[value]])
        if value not in self._index:
            return self._tape.known(to_torch(tensor.numpy()))
        return self._weight(self._index[value])

    def _weight(self, position: int) -> Slot:
        """A weight's Parameter; one that is stored as integers is put on its grid first."""
        example, weight = self._parameters[position], self._weights[position]
        if weight.role == "scale":
            return self._grown(weight.value, [self._growth(weight.value)])
        proxy = self._tape.attribute(f"weight_{position}", example)
        return self._tape.slot(example, proxy) if weight.grid is None else self._on_grid(example, proxy, weight.grid)

    def _on_grid(self, example: torch.Tensor, proxy: object, grid: Grid) -> Slot:
        zero, limits = torch.as_tensor(grid.zero), (grid.low, grid.high)
        source, layout = self._look(grid.source), (tuple(example.shape), grid.axis, grid.block)
        if source.constant:
            scale = torch.as_tensor(grid.scale)
            laid = self._tape.lift(scale)
        else:
            assert source.example is not None
            scale = along(source.example, *layout)
            laid = self._tape.call(along, source.proxy, *layout)
        made = self._tape.call(to_grid, proxy, laid, self._tape.lift(zero), *limits)
        return self._tape.slot(to_grid(example, scale, zero, *limits), made)

    def _growth(self, value: ir.Value) -> Slot:
        """What a trained scale learns, as it is in the module."""
        position = self._index[value]
        example = self._parameters[position]
        return self._tape.slot(example, self._tape.attribute(f"weight_{position}", example))

    def _grown(self, value: ir.Value, growths: Sequence[Slot]) -> Slot:
        """The stored scale, grown by each."""
        tensor = stored(value)
        assert tensor is not None
        example = to_torch(tensor.numpy())
        proxy = self._tape.lift(example)
        for growth in growths:
            assert growth.example is not None
            example = grown(example, growth.example)
            proxy = self._tape.call(grown, proxy, growth.proxy)
        return self._tape.slot(example, proxy)
