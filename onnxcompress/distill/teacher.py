"""The frozen teacher, in ONNX Runtime: faster than torch, and it needs no torch form of its ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.distill.ops.dtypes import to_torch
from onnxcompress.distill.taps import Tap
from onnxcompress.errors import ModelError
from onnxcompress.runtime import Session, real_inputs, runnable_part
from onnxcompress.runtime_options import RuntimeOptions


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
        made = self._session.run(wanted, self._names)
        return {n: self._views[n].teacher_view(a) if n in self._views else a for n, a in made.items()}

    def tensors(self, feeds: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """The same in torch."""
        return {name: to_torch(array) for name, array in self.arrays(feeds).items()}


def check_pair(student: ir.Model, teacher: ir.Model) -> None:
    """Refuse a teacher that cannot be compared with the student.

    Raises:
        ModelError: Naming the input or output that differs.
    """
    hint = "Give the model that the student was made from."
    for mine, theirs, what in (
        (real_inputs(student), real_inputs(teacher), "input"),
        (student.graph.outputs, teacher.graph.outputs, "output"),
    ):
        known = {v.name: v for v in theirs}
        for value in mine:
            if value.name not in known:
                why = f"the teacher has no {what} of that name (it has {', '.join(str(n) for n in known)})"
                raise _unfit(what, value.name, why, hint)
            if not _sizes_agree(value, known[value.name]):
                why = f"the student's sizes are {value.shape}, the teacher's {known[value.name].shape}"
                raise _unfit(what, value.name, why, hint)


def _sizes_agree(a: ir.Value, b: ir.Value) -> bool:
    if a.shape is None or b.shape is None:
        return True
    pairs = zip(a.shape, b.shape, strict=False)
    return len(a.shape) == len(b.shape) and all(x == y for x, y in pairs if isinstance(x, int) and isinstance(y, int))


def _unfit(what: str, name: str | None, why: str, hint: str) -> ModelError:
    return ModelError(
        "teacher and student do not fit", where=f"{what} {name!r}", why=why, hint=hint, code="MODEL-TEACHER"
    )
