"""``onnxcompress reconstruct``."""

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

StudentPath = Annotated[Path, typer.Argument(metavar="STUDENT", help="The ONNX file to repair.", show_default=False)]


@dataclass(frozen=True)
class TeacherFlag(Group):
    """The model to imitate."""

    panel: ClassVar[str] = "Data"
    teacher: Path | None = flag(None, "Model to be close to: the one before compression.", metavar="MODEL")


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

    def recipe(settings: dict[str, Any]) -> Any:
        from onnxcompress.api import recipe_for

        return recipe_for(
            "reconstruct",
            options,
            has_data=data.data is not None,
            has_teacher=teacher.teacher is not None,
            settings=settings,
        )

    flags = Flags(output, data, quality, runtime, scope, log)
    execute(model, recipe, flags, suffix="reconstructed", teacher=teacher.teacher)


def command() -> Any:
    """The command, ready to be run."""
    return build(reconstruct, name="reconstruct", passes=("reconstruct",))
