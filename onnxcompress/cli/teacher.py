"""What the commands with a teacher share: its flag, and the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from onnxcompress.cli.execute import Flags, execute
from onnxcompress.cli.options import Group, flag


@dataclass(frozen=True)
class TeacherFlag(Group):
    """The model to imitate."""

    panel: ClassVar[str] = "Data"
    teacher: Path | None = flag(None, "Model to imitate: the one before compression.", metavar="MODEL")


def execute_with_teacher(
    command: str, student: Path, options: Mapping[str, Any], teacher: TeacherFlag, flags: Flags, *, suffix: str
) -> None:
    """Run the recipe that `command` stands for on `student`."""

    def recipe(settings: dict[str, Any]) -> Any:
        from onnxcompress.api import recipe_for

        has = {"has_data": flags.data.data is not None, "has_teacher": teacher.teacher is not None}
        return recipe_for(command, options, **has, settings=settings)

    execute(student, recipe, flags, suffix=suffix, teacher=teacher.teacher)
