from __future__ import annotations

import errno
import importlib
from pathlib import Path
from typing import Any

import pytest
from builders.command_line import CommandLine

from onnxcompress import __version__
from onnxcompress.cli.app import COMMANDS
from onnxcompress.errors import DataError, GateError, ModelError, ResourceError


def test_help_lists_every_command_and_goes_to_stdout(cli: CommandLine) -> None:
    for words in ((), ("--help",), ("-h",)):
        outcome = cli(*words)
        assert outcome.code == 0
        assert outcome.err == ""
        assert all(name in outcome.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_at_most_80_columns(
    cli: CommandLine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = cli(name, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"onnxcompress {name}" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_version(cli: CommandLine) -> None:
    assert cli("--version").out == f"onnxcompress {__version__}\n"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("prun",), "Did you mean 'prune'"),
        (("inspect",), "Missing argument"),
        (("inspect", "m.onnx", "--nonsense"), "No such option"),
        (("inspect", "m.onnx", "--top", "many"), "--top"),
    ],
)
def test_a_wrong_command_line_is_one_paragraph_and_exit_2(cli: CommandLine, words: tuple[str, ...], part: str) -> None:
    outcome = cli(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert part in outcome.err
    assert "--help" in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(importlib.import_module("onnxcompress.cli.targets"), "load_target", fail)


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (ModelError("cannot load m.onnx", why="it is empty", hint="Copy it again."), 3, "it is empty. Copy it again."),
        (DataError("no samples"), 4, "no samples"),
        (GateError("too much lost"), 5, "too much lost"),
        (ResourceError("disk full"), 6, "disk full"),
        (MemoryError(), 6, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/out.onnx"), 6, "/x/out.onnx"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/out.onnx"), 6, "Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted: nothing was written."),
        (ValueError("strange\nthing"), 1, "a bug of ours (ValueError: strange thing)"),
    ],
)
def test_every_error_has_its_exit_code_and_one_paragraph(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, part: str
) -> None:
    _failing(monkeypatch, error)
    outcome = cli("targets")
    assert (outcome.code, outcome.out) == (code, "")
    assert part in outcome.err
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err


def test_a_reader_that_went_away_is_no_error(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcompress.cli.console._silence_stdout", lambda: None)
    _failing(monkeypatch, BrokenPipeError())
    assert cli("targets").code == 0
    assert cli("targets").err == ""


def test_debug_shows_the_traceback(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, ValueError("strange"))
    outcome = cli("targets", "--debug")
    assert outcome.code == 1
    assert "Traceback" in outcome.err


def test_notes_on_an_error_are_part_of_the_paragraph(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModelError("cannot prune")
    error.add_note("raised by the pass prune-channels")
    _failing(monkeypatch, error)
    assert cli("targets").err == "error: cannot prune. (raised by the pass prune-channels)\n"


@pytest.mark.parametrize("command", ["prune", "quantize", "distill", "inspect"])
def test_a_missing_model_is_said_before_anything_else(cli: CommandLine, tmp_path: Path, command: str) -> None:
    outcome = cli(command, tmp_path / "none.onnx")
    assert (outcome.code, outcome.out) == (3, "")
    assert "none.onnx" in outcome.err
