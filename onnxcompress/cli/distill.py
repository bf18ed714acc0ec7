"""``onnxcompress distill``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from onnxcompress.cli.build import PassFlags, build
from onnxcompress.cli.execute import Flags
from onnxcompress.cli.options import (
    DataFlags,
    Group,
    LogFlags,
    MachineFlags,
    OutputFlags,
    QualityFlags,
    ScopeFlags,
    flag,
)
from onnxcompress.cli.teacher import TeacherFlag, execute_with_teacher

StudentPath = Annotated[Path, typer.Argument(metavar="STUDENT", help="The ONNX file to train.", show_default=False)]


@dataclass(frozen=True)
class SelfCompressFlag(Group):
    """Whether the student is cut on the way."""

    panel: ClassVar[str] = "Self-compression"
    self_compress: bool = flag(
        False,
        "Prune a little wherever training stands still, down to --target-macs or --target-params; STUDENT is its own "
        "teacher where none is given.",
        "--self-compress",
    )


def distill(
    model: StudentPath,
    teacher: TeacherFlag,
    cutting: SelfCompressFlag,
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

    --self-compress --target-macs 0.4x starts from a whole model: train, prune a little where training stands still,
    repair, rewind the learning rate, and so on; written is the last student within --max-gap of its teacher.
    """
    flags = Flags(output, data, quality, runtime, scope, log)
    given, suffix = dict(options), "distilled"
    if cutting.self_compress:
        given["self_compress"], suffix = True, "compressed"
    execute_with_teacher("distill", model, given, teacher, flags, suffix=suffix)


def command() -> Any:
    """The command, ready to be run."""
    return build(distill, name="distill", passes=("distill", "self-compress"))
