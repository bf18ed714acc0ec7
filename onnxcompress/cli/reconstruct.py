"""``onnxcompress reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onnxcompress.cli.build import PassFlags, build
from onnxcompress.cli.execute import Flags
from onnxcompress.cli.options import (
    DataFlags,
    LogFlags,
    MachineFlags,
    OutputFlags,
    QualityFlags,
    ScopeFlags,
)
from onnxcompress.cli.teacher import TeacherFlag, execute_with_teacher

StudentPath = Annotated[Path, typer.Argument(metavar="STUDENT", help="The ONNX file to repair.", show_default=False)]


def reconstruct(
    model: StudentPath,
    teacher: TeacherFlag,
    options: PassFlags,
    output: OutputFlags,
    data: DataFlags,
    quality: QualityFlags,
    runtime: MachineFlags,
    scope: ScopeFlags,
    log: LogFlags,
) -> None:
    """Refit a cut model's weights to its teacher's outputs by least squares; no training, no labels, no PyTorch.

    Repairs what any tool has cut: where nothing says which channels are left, weights and activations are compared.
    """
    flags = Flags(output, data, quality, runtime, scope, log)
    execute_with_teacher("reconstruct", model, options, teacher, flags, suffix="reconstructed")


def command() -> Any:
    """The command, ready to be run."""
    return build(reconstruct, name="reconstruct", passes=("reconstruct",))
