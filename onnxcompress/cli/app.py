"""Entry point: finds the command, runs it, and turns every error into one paragraph and an exit code.

Commands are found lazily: running one imports that one. Nothing heavier than typer is imported here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from onnxcompress.cli import ranks
from onnxcompress.errors import UsageError

COMMANDS = (
    "prune",
    "quantize",
    "distill",
    "reconstruct",
    "run",
    "inspect",
    "compare",
    "lint",
    "passes",
    "targets",
    "doctor",
)

# What typer raises for a wrong command line; it has no public name.
_WrongUsage: Any = typer.BadParameter.__mro__[1]


class _Commands(Mapping[str, Any]):
    """The commands by name, each module imported when its command is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return importlib.import_module(f"onnxcompress.cli.{name}").command()

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    """typer's group over the lazy commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # pyright: ignore[reportIncompatibleVariableOverride, reportAttributeAccessIssue]


app = typer.Typer(
    name="onnxcompress", cls=_Group, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", metavar="", help="Print the version and stop.")) -> None:
    """Make ONNX models smaller and faster: prune, quantize, distill; no training code, no labels.

    Results go to stdout, everything else to stderr. Nothing is sent anywhere.

    Environment: NO_COLOR=1 (no colour), ONNXCOMPRESS_NO_PLUGINS=1 (no third-party passes).
    """
    if version:
        from onnxcompress import __version__

        sys.stdout.write(f"onnxcompress {__version__}\n")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Args:
        arguments: Words after the program's name; those of the process by default.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code: 0 ok, 1 our bug, 2 usage, 3 model, 4 data, 5 gate, 6 resources."""
    words = list(arguments) or ["--help"]
    try:
        with ranks.voice():
            return int(typer.main.get_command(app).main(words, prog_name="onnxcompress", standalone_mode=False) or 0)
    except _WrongUsage as error:
        return ranks.report_error(_as_usage_error(error), debug="--debug" in words)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the process ends here: nothing is swallowed
        return ranks.report_error(error, debug="--debug" in words)


def _as_usage_error(error: Any) -> UsageError:
    path = error.ctx.command_path if error.ctx else "onnxcompress"
    return UsageError(error.format_message().rstrip(".?"), hint=f"See `{path} --help`.", code="USAGE-COMMAND-LINE")
