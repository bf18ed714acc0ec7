"""The frozen teacher in torch: where training runs on a GPU, its tensors need not travel from ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.taps import Tap
from onnxcompress.distill.teacher import Teacher, cut, fixed_batch, in_runs
from onnxcompress.runtime_options import RuntimeOptions


class TorchTeacher(Teacher):
    """The same tensors as `Teacher` gives, from the teacher's torch form.

    Args:
        model: The teacher.
        names: Tensors wanted.
        taps: Those of them that are cut to the student's channels.
    """

    def __init__(self, model: ir.Model, names: Sequence[str], taps: Sequence[Tap] = ()) -> None:
        self._bridge, self._names = Bridge(model), [n for n in names if n]
        self._sizes = {value.name or "": [*(value.shape or ())] for value in model.graph.inputs}
        self._views = {tap.name: tap for tap in taps}
        for parameter in self._bridge.parameters:
            parameter.requires_grad_(False)

    def arrays(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The wanted tensors, as the student has them."""
        return {name: tensor.cpu().numpy() for name, tensor in self.tensors(feeds).items()}

    def tensors(self, feeds: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """The same in torch."""
        wanted = {name: array for name, array in feeds.items() if name in self._sizes}
        with torch.no_grad():
            made = in_runs(wanted, fixed_batch(self._sizes, wanted), self._run, torch.cat)
        return {name: cut(made[name], self._views.get(name)) for name in self._names}

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return self._bridge.specialise(feeds, self._names).run(feeds)


def open_teacher(
    backend: str, model: ir.Model, names: Sequence[str], taps: Sequence[Tap], options: RuntimeOptions
) -> Teacher:
    """The teacher for ``auto``, ``ort`` or ``torch``; auto takes torch where new tensors do not lie on the processor.

    Raises:
        ModelError: Where the teacher has a node without a torch form, and torch was asked for.
    """
    if backend == "torch" or (backend == "auto" and torch.get_default_device().type != "cpu"):
        return TorchTeacher(model, names, taps)
    return Teacher(model, names, taps, options)
