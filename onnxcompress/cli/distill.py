"""``onnxcompress distill``."""

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

StudentPath = Annotated[Path, typer.Argument(metavar="STUDENT", help="The ONNX file to train.", show_default=False)]


def distill(
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
    """Train a compressed model to imitate its teacher on samples without labels; the graph stays as it is.

    A model with Q/DQ nodes is trained as it will run. Needs PyTorch: pip install "onnxcompress[distill]".
    """
    flags = Flags(output, data, quality, runtime, scope, log)
    execute_with_teacher("distill", model, options, teacher, flags, suffix="distilled")


def command() -> Any:
    """The command, ready to be run."""
    return build(distill, name="distill", passes=("distill",))
