"""How stored samples become what an input takes: axes moved, inserted or dropped, a grey channel repeated.

A plan is made once from the shapes, before any sample is read, and is refused by name where none fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.data.inputs import Dim, InputSpec
from onnxcompress.errors import DataError, UsageError

LAYOUTS = ("auto", "nchw", "nhwc")
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Plan:
    """Steps on an array whose first axis counts samples, in the order of the fields; axes count without it.

    Attributes:
        drop: Axis of size 1 that goes.
        order: New order of the sample axes.
        insert: Position of a new axis of size 1.
        repeat: (axis, times) for a grey picture in a colour model.
    """

    drop: int | None = None
    order: tuple[int, ...] | None = None
    insert: int | None = None
    repeat: tuple[int, int] | None = None

    def shape(self, shape: Shape) -> Shape:
        """Sizes of one sample after the plan."""
        sizes = list(shape)
        if self.drop is not None:
            del sizes[self.drop]
        if self.order is not None:
            sizes = [sizes[i] for i in self.order]
        if self.insert is not None:
            sizes.insert(self.insert, 1)
        if self.repeat is not None:
            sizes[self.repeat[0]] = self.repeat[1]
        return tuple(sizes)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The samples, rearranged; nothing is copied before a channel is repeated."""
        if self.drop is not None:
            array = np.squeeze(array, axis=self.drop + 1)
        if self.order is not None:
            array = np.transpose(array, (0, *(i + 1 for i in self.order)))
        if self.insert is not None:
            array = np.expand_dims(array, self.insert + 1)
        if self.repeat is not None:
            array = np.repeat(array, self.repeat[1], axis=self.repeat[0] + 1)
        return array


def fits(shape: Shape, dims: tuple[Dim, ...] | None) -> bool:
    """True where every fixed size agrees; an unknown size on either side agrees with anything."""
    if dims is None:
        return True
    pairs = list(zip(shape, dims, strict=False))
    return len(shape) == len(dims) and all(not isinstance(d, int) or s is None or s == d for s, d in pairs)


def plan_for(shape: Shape, spec: InputSpec, layout: str = "auto") -> Plan | None:
    """The least change that makes samples of `shape` fit `spec`; None where nothing does.

    Args:
        shape: Sizes of one stored sample.
        spec: The model's input.
        layout: Layout of the stored pictures; ``auto`` keeps what fits and turns channels around where only that fits.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout!r}", hint="Use auto, nchw or nhwc.", code="USAGE-LAYOUT")
    dims = spec.sample_dims
    return next((plan for plan in _candidates(shape, dims, layout) if fits(plan.shape(shape), dims)), None)


def _candidates(shape: Shape, dims: tuple[Dim, ...] | None, layout: str) -> Iterator[Plan]:
    orders = _orders(shape, dims, layout)
    rank = len(dims) if dims is not None else len(shape)
    bases = [Plan(order=order) for order in orders]
    if len(shape) == rank - 1:
        bases = [Plan(insert=i) for i in _unit_axes(dims)]
    elif len(shape) == rank + 1:
        bases = [Plan(drop=i) for i, size in enumerate(shape) if size == 1]
    yield from bases
    yield from (replace(base, repeat=repeat) for base in bases for repeat in _repeats(base.shape(shape), dims))


def _orders(shape: Shape, dims: tuple[Dim, ...] | None, layout: str) -> list[tuple[int, ...] | None]:
    if len(shape) != 3:
        return [None]
    target = picture_layout(dims)
    if layout == "auto":
        return [None, (2, 0, 1), (1, 2, 0)]
    if layout == target:
        return [None]
    return [(2, 0, 1) if layout == "nhwc" else (1, 2, 0)]


def _unit_axes(dims: tuple[Dim, ...] | None) -> list[int]:
    sizes = dims or ()
    colour = channel_axis(sizes)
    return [i for i, d in enumerate(sizes) if d == 1] + ([colour] if colour is not None and sizes[colour] == 3 else [])


def _repeats(shape: Shape, dims: tuple[Dim, ...] | None) -> list[tuple[int, int]]:
    axis = channel_axis(dims)
    grey = axis is not None and dims is not None and dims[axis] == 3 and len(shape) == len(dims) and shape[axis] == 1
    return [(axis, 3)] if grey and axis is not None else []


def picture_layout(dims: tuple[Dim, ...] | None) -> str:
    """``nhwc`` where only the last of three sample axes can be the channels, else ``nchw`` (ONNX's own layout)."""
    if dims is None or len(dims) != 3 or dims[2] not in (1, 3, 4):
        return "nchw"
    square = dims[0] == dims[1] != dims[2]
    return "nhwc" if square or dims[0] not in (1, 3, 4) else "nchw"


def channel_axis(dims: tuple[Dim, ...] | None) -> int | None:
    """The sample axis that counts channels: the first of three or of two, the last in NHWC; None for other ranks."""
    if dims is None or not dims or len(dims) > 3:
        return None
    return 2 if picture_layout(dims) == "nhwc" and len(dims) == 3 else 0


def misfit(shape: Shape, spec: InputSpec, where: str) -> DataError:
    """Why samples of `shape` cannot feed `spec`, and which option may help."""
    stored = " x ".join("?" if s is None else str(s) for s in shape) or "a scalar"
    wanted = " x ".join("?" if d is None else str(d) for d in spec.sample_dims or ()) or "a scalar"
    same_rank = spec.sample_dims is not None and len(shape) == len(spec.sample_dims)
    return DataError(
        "the data does not fit the model",
        where=where,
        why=f"a sample is {stored}, and input {spec.name!r} takes {wanted} a sample",
        hint=_advice(shape, spec),
        code="DATA-SHAPE" if same_rank else "DATA-RANK",
    )


def _advice(shape: Shape, spec: InputSpec) -> str:
    dims = spec.sample_dims or ()
    if len(shape) == 3 and len(dims) == 3 and sorted(map(str, shape)) == sorted(map(str, dims)):
        return "Say how the pictures lie with --layout nhwc or --layout nchw."
    if len(shape) == len(dims) - 1 and fits(shape, dims[1:]):
        return "The first axis counts samples: save the array with one more axis in front."
    return f"Resize or reshape the samples, or choose another array with --map {spec.name}=KEY."
