"""The frozen teacher, in ONNX Runtime: faster than torch, and it needs no torch form of its ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.taps import Tap
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime_options import RuntimeOptions

T = TypeVar("T", np.ndarray, torch.Tensor)


class Teacher:
    """Tensors of the teacher for a batch.

    Args:
        model: The teacher.
        names: Tensors wanted.
        taps: Those of them that are cut to the student's channels.
        options: Runtime settings.
    """

    def __init__(
        self, model: ir.Model, names: Sequence[str], taps: Sequence[Tap] = (), options: RuntimeOptions | None = None
    ) -> None:
        part, _ = runnable_part(model, options)
        self._session = Session(part, options, taps=[n for n in names if n])
        self._names = list(names)
        self._views = {tap.name: tap for tap in taps}

    def arrays(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The wanted tensors, as the student has them."""
        wanted = {name: feeds[name] for name in self._session.input_names if name in feeds}
        made = in_runs(wanted, self._fixed(wanted), lambda part: self._session.run(part, self._names), np.concatenate)
        return {n: self._views[n].teacher_view(a) if n in self._views else a for n, a in made.items()}

    def tensors(self, feeds: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """The same in torch."""
        return {name: to_torch(array) for name, array in self.arrays(feeds).items()}

    def _fixed(self, feeds: Mapping[str, np.ndarray]) -> int | None:
        return fixed_batch({spec.name: spec.dims for spec in self._session.inputs}, feeds)


def cut(tensor: torch.Tensor, tap: Tap | None) -> torch.Tensor:
    """A tensor of the teacher in torch, cut to what the student has; `Tap.teacher_view` does it for arrays."""
    for axis, indices in ({} if tap is None else tap.kept).items():
        tensor = tensor.index_select(axis, torch.as_tensor(np.ascontiguousarray(indices), device=tensor.device))
    return tensor


def fixed_batch(dims: Mapping[str, Sequence[object]], feeds: Mapping[str, np.ndarray]) -> int | None:
    """Samples that a model takes at once; None where that is free or its inputs do not agree on it."""
    firsts = {sizes[0] if sizes else None for name, sizes in dims.items() if name in feeds}
    (first,) = firsts if len(firsts) == 1 else (None,)
    return first if isinstance(first, int) and first > 0 else None


def in_runs(
    feeds: Mapping[str, np.ndarray],
    each: int | None,
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, T]],
    join: Callable[[list[T]], T],
) -> dict[str, T]:
    """One run; several, put together, where the model takes a fixed number of samples and the feeds hold another."""
    rows = 0 if each is None else len(next(iter(feeds.values())))  # a scalar setting has no length
    if each is None or each == rows:
        return dict(run(feeds))
    whole = np.arange(-(-rows // each) * each) % rows  # the last run is filled up with the first samples
    runs = [run({n: a[at] for n, a in feeds.items()}) for at in whole.reshape(-1, each)]
    return {name: join([made[name] for made in runs])[:rows] for name in runs[0]}
