"""Everything one distillation works on."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.distill.settings import Settings
from onnxcompress.passes.base import Progress, Scope, silent
from onnxcompress.runtime_options import RuntimeOptions


@dataclass(frozen=True)
class Job:
    """Everything one distillation works on.

    Attributes:
        student: The model that is edited.
        teacher: The model to imitate.
        data: Samples that train.
        held_out: Samples that only decide whether the result is better; None holds some of `data` out.
        settings: Options.
        runtime: How the teacher runs.
        scope: Nodes whose weights may move.
        progress: Told the steps.
    """

    student: ir.Model
    teacher: ir.Model
    data: DataSource
    held_out: DataSource | None
    settings: Settings
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    scope: Scope = field(default_factory=Scope)
    progress: Progress = silent
