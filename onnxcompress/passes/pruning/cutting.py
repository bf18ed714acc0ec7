"""The cut from beginning to end: written shapes, what is kept, size arithmetic, constants, and what nothing reads."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.passes.normalizing.dead import remove_dead
from onnxcompress.passes.pruning.relabel import relabel
from onnxcompress.passes.pruning.surgery import Cut, cut_constants, kept, update_shapes

META = "onnxcompress.kept"
"""Where the model carries the original indices kept, by tensor name and axis."""


def cut_out(model: ir.Model, cut: Cut) -> None:
    """Cut the traced `model` in place."""
    shorten(model, cut)
    remove_dead(model)


def shorten(model: ir.Model, cut: Cut) -> None:
    """The cut alone: what nothing reads stays, so that a cut of nothing changes nothing."""
    before = model.meta.get(META, {})
    update_shapes(cut)
    model.meta[META] = kept(cut, before)
    relabel(cut)
    cut_constants(cut)
