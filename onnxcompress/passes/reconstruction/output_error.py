"""How far a student's outputs are from its teacher's, in one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.reconstruction.stream import Run
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.session import is_tensor

if TYPE_CHECKING:
    from onnxcompress.runtime_options import RuntimeOptions


def output_error(student: ir.Model, teacher: ir.Model, runs: Sequence[Run], options: RuntimeOptions) -> float:
    """Mean over the outputs of |s - t|^2 / |t|^2; for whole numbers and flags the share that differs."""
    parts = [runnable_part(model, options)[0] for model in (student, teacher)]
    sessions = [Session(part, options) for part in parts]
    off: dict[str, float] = {}
    power: dict[str, float] = {}
    for feeds in runs:
        ours, theirs = (s.run(feeds) for s in sessions)
        for name, t in theirs.items():
            if not is_tensor(t) or name not in ours or np.shape(ours[name]) != t.shape:
                continue
            wide, mine = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in (t, ours[name]))
            error = np.square(mine - wide) if t.dtype.kind == "f" else mine != wide
            scale = np.square(wide) if t.dtype.kind == "f" else np.ones(wide.shape)
            off[name] = off.get(name, 0.0) + float(error.sum())
            power[name] = power.get(name, 0.0) + float(scale.sum())
    return float(np.mean([off[n] / max(power[n], 1e-30) for n in off])) if off else 0.0
