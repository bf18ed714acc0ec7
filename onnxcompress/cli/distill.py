"""``onnxcompress distill``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from onnxcompress.cli.build import PassFlags, build
from onnxcompress.cli.execute import Flags, execute
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

StudentPath = Annotated[Path, typer.Argument(metavar="STUDENT", help="The ONNX file to train.", show_default=False)]


@dataclass(frozen=True)
class TeacherFlag(Group):
    """The model to imitate."""

    panel: ClassVar[str] = "Data"
    teacher: Path | None = flag(None, "Model to imitate: the one before compression.", metavar="MODEL")


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

    def recipe(settings: dict[str, Any]) -> Any:
        from onnxcompress.api import recipe_for

        return recipe_for(
            "distill",
            options,
            has_data=data.data is not None,
            has_teacher=teacher.teacher is not None,
            settings=settings,
        )

    flags = Flags(output, data, quality, runtime, scope, log)
    execute(model, recipe, flags, suffix="distilled", teacher=teacher.teacher)


def command() -> Any:
    """The command, ready to be run."""
    return build(distill, name="distill", passes=("distill",))
