"""``onnxcompress run``: a recipe file, one pass by its name, or the built-in recipe ``auto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from onnxcompress.cli.build import build
from onnxcompress.cli.calibration import CalibrationFlags
from onnxcompress.cli.execute import Flags, execute
from onnxcompress.cli.options import (
    DataFlags,
    Group,
    LogFlags,
    MachineFlags,
    ModelPath,
    OutputFlags,
    QualityFlags,
    ScopeFlags,
    flag,
    pairs,
)

if TYPE_CHECKING:
    from onnxcompress.passes.base import Pass
    from onnxcompress.recipe import Recipe

AUTO = "auto"


def _complete(incomplete: str) -> list[str]:
    from onnxcompress.registry import pass_names

    return [name for name in (AUTO, *pass_names()) if name.startswith(incomplete)]


What = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|PASS|auto",
        help="A recipe (.toml), a pass by its name, or auto.",
        autocompletion=_complete,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class RecipeFlags(Group):
    """What is run, in detail."""

    panel: ClassVar[str] = "Recipe"
    set: tuple[str, ...] = flag(
        (), "Set an option of the pass, or PASS.OPTION=VALUE in a recipe.", metavar="OPTION=VALUE"
    )
    load: tuple[str, ...] = flag((), "Load a pass of your own; this runs that file.", "--pass", metavar="FILE.py:CLASS")
    teacher: Path | None = flag(None, "Model to imitate; MODEL itself by default.", metavar="MODEL")


def run(
    what: What,
    model: ModelPath,
    recipe: RecipeFlags,
    output: OutputFlags,
    data: DataFlags,
    calibration: CalibrationFlags,
    quality: QualityFlags,
    runtime: MachineFlags,
    scope: ScopeFlags,
    log: LogFlags,
) -> None:
    """Run a recipe, a single pass, or auto: prune, repair, distill (where PyTorch is installed) and quantize.

    See `onnxcompress passes` for the passes and their options; --dry-run prints a recipe to start from.
    """

    def make(settings: dict[str, Any]) -> Recipe:
        return _recipe(what, recipe, settings, has_data=data.data is not None)

    flags = Flags(output, data, quality, runtime, scope, log, calibration)
    execute(model, make, flags, suffix="compressed", teacher=recipe.teacher, several=True)


def _recipe(what: str, flags: RecipeFlags, settings: dict[str, Any], *, has_data: bool) -> Recipe:
    from onnxcompress.api import recipe_for

    values = pairs(flags.set, "--set")
    local = _local(flags.load)
    if what == AUTO:
        return recipe_for(AUTO, values, has_data=has_data, settings=settings)
    if what.endswith(".toml") or Path(what).is_file():
        return _from_file(what, values, settings, local)
    return _single(what, values, settings, local)


def _local(specs: tuple[str, ...]) -> dict[str, type[Pass]]:
    from onnxcompress.registry import load_local

    classes = [load_local(spec) for spec in specs]
    return {cls.name: cls for cls in classes}


def _single(name: str, values: Mapping[str, str], settings: dict[str, Any], local: Mapping[str, type[Pass]]) -> Recipe:
    from onnxcompress.recipe import Recipe
    from onnxcompress.registry import make_pass

    options = {key.removeprefix(f"{name}."): value for key, value in values.items()}
    return Recipe((make_pass(name, options, local),), settings)


def _from_file(
    path: str, values: Mapping[str, str], settings: dict[str, Any], local: Mapping[str, type[Pass]]
) -> Recipe:
    from onnxcompress.api import override
    from onnxcompress.recipe import Recipe, load_recipe
    from onnxcompress.registry import make_pass

    loaded = load_recipe(path, local)
    entries = [(p.name, {k: v for k, v in p.spec().items() if k != "pass"}) for p in loaded.passes]
    passes = tuple(make_pass(name, options, local) for name, options in override(entries, values))
    return Recipe(passes, {**loaded.settings, **settings})


def command() -> Any:
    """The command, ready to be run."""
    return build(run, name="run")
