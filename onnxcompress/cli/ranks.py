"""One of several processes under torchrun: process 0 speaks and writes, the others are silent.

An error is told once, by the process that meets it first; every process leaves with its exit code.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Generator
from pathlib import Path

from onnxcompress.cli import console
from onnxcompress.environment import place_among_processes


def is_first() -> bool:
    """True for the process that speaks and writes."""
    return place_among_processes()[0] == 0


@contextlib.contextmanager
def voice() -> Generator[None]:
    """Both streams as they are in the first process, closed in the others."""
    if is_first():
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def report_error(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong unless another process has said it; returns the exit code."""
    if place_among_processes()[1] == 1:
        return console.report_error(error, debug=debug)
    with _speaker() as mine:
        return console.report_error(error, debug=debug) if mine else console.describe_error(error)[1]


@contextlib.contextmanager
def _speaker() -> Generator[bool]:
    try:
        room = importlib.import_module("onnxcompress.distill.notices")
    except ModuleNotFoundError:
        yield is_first()
        return
    with room.speaker() as mine:
        yield mine
