"""What the tensors to be quantized look like, channel by channel: a thinned matrix of values for each.

Equalization compares channels, so the tensor is laid out as (channels, values): channels are the positions along the
axes on which the scale may vary, and of the rest a fixed number of values is kept, evenly spaced in every sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.quantization.equalization.marks import Marks
from onnxcompress.runtime import run_source

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

_VALUES = 1 << 18  # kept of one tensor
_EACH = (64, 2048)  # fewest and most values kept of one channel
_BATCH = 8


@dataclass(frozen=True, eq=False)
class Seen:
    """One tensor.

    Attributes:
        value: The tensor.
        ids: The atom of each channel.
        values: Of shape (channels, values), float32.
        peaks: Largest value of each channel, none left out.
    """

    value: ir.Value
    ids: Ids
    values: np.ndarray
    peaks: np.ndarray


def observe(marks: Marks, tensors: Sequence[ir.Value], samples: DataSource, ctx: Context) -> list[Seen]:
    """Run the samples and keep some values of each tensor; tensors that hold NaN or infinity are left out."""
    names = [value.name or "" for value in tensors]
    inputs = {value.name or "" for value in marks.model.graph.inputs}
    taps = [name for name in names if name not in inputs]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    peaks: dict[str, list[np.ndarray]] = {name: [] for name in names}
    lists = {value.name or "": _channels(marks, value) for value in tensors}
    runs = run_source(
        marks.model,
        samples,
        taps or None,
        options=ctx.runtime,
        batch=_BATCH,
        optimize=False,
        taps=taps,
        progress=ctx.progress,
        at_once=2,
    )
    for run in runs:
        arrays = {**run, **(samples.read(run.indices) if inputs & set(names) else {})}
        for name, (axes, ids) in lists.items():
            share = len(run.indices) / len(samples)
            channels = np.moveaxis(arrays[name], axes, range(len(axes))).reshape(len(ids), -1)
            parts[name].append(_thinned(channels, share))
            peaks[name].append(channels.max(axis=1, initial=-np.inf))
    seen = [
        Seen(value, lists[name][1], np.concatenate(parts[name], axis=1), np.max(peaks[name], axis=0))
        for name, value in zip(names, tensors, strict=True)
    ]
    return [each for each in seen if each.values.size and np.isfinite(each.values).all()]


def _channels(marks: Marks, value: ir.Value) -> tuple[tuple[int, ...], Ids]:
    """The axes on which the scale varies, and the atoms along them; a fixed tensor is one channel."""
    ids = marks.ids.get(value)
    if ids is None:
        return (), np.zeros(1, np.int64)
    return marks.varies(ids), ids.reshape(-1)


def _thinned(channels: np.ndarray, share: float) -> np.ndarray:
    most = int(np.clip(_VALUES // len(channels), *_EACH) * share) + 1
    if channels.shape[1] > most:
        channels = channels[:, np.linspace(0, channels.shape[1] - 1, most).round().astype(np.int64)]
    return channels.astype(np.float32)
