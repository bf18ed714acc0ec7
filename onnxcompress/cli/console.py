"""What a person sees: messages, progress and errors, all on stderr. stdout holds the result and nothing else.

On a terminal long steps draw bars; in a log they leave a line every 30 seconds. ``NO_COLOR`` and ``TERM=dumb`` are
respected. rich is imported only where something is drawn.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from onnxcompress.errors import CompressError, ResourceError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from onnxcompress.cli.options import LogFlags

_BEAT_SECONDS = 30.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class InterruptError(CompressError):
    """The user pressed Ctrl-C. Exit code 130, as shells have it."""

    exit_code = 130


@contextlib.contextmanager
def interruptible() -> Generator[None]:
    """Turn Ctrl-C into an error of ours, before typer makes its own of it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise InterruptError("interrupted", why="nothing was written", code="INTERRUPTED") from stop


@contextlib.contextmanager
def stdout_for_results() -> Generator[None]:
    """Send what libraries and users' functions print to stderr; `write_result` still reaches stdout."""
    with contextlib.redirect_stdout(_Result(sys.stdout)):
        yield


class _Result:
    """Stands in for stdout: text goes to stderr, results to where stdout was."""

    def __init__(self, stdout: TextIO) -> None:
        self.stdout = stdout

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def write_result(text: str) -> None:
    """Write the command's result, a whole line or more, to stdout."""
    stream = sys.stdout.stdout if isinstance(sys.stdout, _Result) else sys.stdout
    stream.write(text if text.endswith("\n") else text + "\n")
    stream.flush()


def colour_wanted(stream: TextIO) -> bool:
    """True where `stream` is a terminal and the user did not forbid colour."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return bool(stream.isatty() and not plain)


def report_error(error: BaseException, *, debug: bool) -> int:
    """Say in one paragraph what went wrong; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return 0
    if debug:
        sys.stderr.write("".join(traceback.format_exception(error)))
    text, code = describe_error(error)
    label = "\033[1;31merror:\033[0m" if colour_wanted(sys.stderr) else "error:"
    sys.stderr.write(f"{label} {text}\n")
    return code


def describe_error(error: BaseException) -> tuple[str, int]:
    """The paragraph and the exit code for an error of any kind."""
    known = _known(error)
    if known is None:
        name = f"{type(error).__name__}: {error}".rstrip(": ").replace("\n", " ")
        return (
            f"this is a bug of ours ({name}). Nothing was written. Run it again with --debug and report what it says.",
            1,
        )
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return str(known) + notes, known.exit_code


def _known(error: BaseException) -> CompressError | None:
    if isinstance(error, CompressError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptError("interrupted", why="nothing was written", code="INTERRUPTED")
    if isinstance(error, MemoryError):
        return ResourceError("out of memory", hint="Give fewer --samples or a smaller --shape; nothing was written.")
    if isinstance(error, OSError) and error.errno in (*_FULL, *_DENIED, errno.ENOMEM):
        return ResourceError(
            "cannot write or read a file",
            where=str(error.filename or ""),
            why=error.strerror or str(error),
            hint="Free some space or choose another folder; nothing was written.",
        )
    return None


def _silence_stdout() -> None:
    """The reader of a pipe is gone: let Python's last flush go nowhere instead of complaining."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


class Terminal(logging.Handler):
    """The screen during one command: a progress sink, a logging handler, and the place for tables.

    Args:
        flags: What the user wants to hear.
    """

    def __init__(self, flags: LogFlags) -> None:
        super().__init__()
        self._flags = flags
        self._beat: Heartbeat | Bars | None = None
        self._console: Console | None = None
        self._level_before = logging.NOTSET

    def __enter__(self) -> Self:
        logger = logging.getLogger("onnxcompress")
        logger.addHandler(self)
        logger.propagate = False
        self._level_before = logger.level
        logger.setLevel(self._level())
        if not (self._flags.quiet or self._flags.no_progress):
            self._beat = Bars(self.console) if colour_wanted(sys.stderr) else Heartbeat(self.say)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_progress()
        logger = logging.getLogger("onnxcompress")
        logger.removeHandler(self)
        logger.propagate = True
        logger.setLevel(self._level_before)

    @property
    def console(self) -> Console:
        """Rich's console on stderr, at most 80 columns wide."""
        if self._console is None:
            from rich.console import Console

            width = min(80, Console(stderr=True).width)
            self._console = Console(stderr=True, width=width, highlight=False, no_color=not colour_wanted(sys.stderr))
        return self._console

    def progress(self, step: str, done: int, total: int) -> None:
        """`done` of `total` units of `step` are finished."""
        if self._beat is not None:
            self._beat.update(step, done, total)

    def stop_progress(self) -> None:
        """Take the bars away: what follows is the result."""
        if self._beat is not None:
            self._beat.stop()
            self._beat = None

    def emit(self, record: logging.LogRecord) -> None:
        """Print a log record."""
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        self.say(prefix + record.getMessage())

    def say(self, text: str) -> None:
        """A line for a person, unless --quiet."""
        if self._flags.quiet:
            return
        if isinstance(self._beat, Bars):
            self.console.print(text, markup=False, soft_wrap=True)
        else:
            sys.stderr.write(text + "\n")

    def draw(self, renderable: RenderableType) -> None:
        """A table or panel, unless --quiet."""
        if not self._flags.quiet:
            self.console.print(renderable)

    def _level(self) -> int:
        if self._flags.quiet:
            return logging.ERROR
        return {0: logging.WARNING, 1: logging.INFO}.get(self._flags.verbose, logging.DEBUG)


def _name_of(step: str) -> str:
    """What a step is known by: the words before its figures, "distill (loss 0.123)", which change from call to call."""
    return step.partition(" (")[0]


class Bars:
    """Progress on a terminal: one bar for each step that has more than one unit."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[count]}"))
        self._bars: Progress = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def update(self, step: str, done: int, total: int) -> None:
        """Move the bar of `step`; a finished one disappears, and one of a single unit only shows that it is alive."""
        name = _name_of(step)
        whole = float(total) if total > 1 else None
        count = f"{done}/{total}" if total > 1 else ""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(step, total=whole, count=count)
        self._bars.update(self._tasks[name], description=step, completed=done, total=whole, count=count)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(name))

    def stop(self) -> None:
        """Clear all bars."""
        self._bars.stop()


class Heartbeat:
    """Progress in a log: what is going on, a line every 30 seconds, even where a step reports nothing."""

    def __init__(self, say: Any, seconds: float = _BEAT_SECONDS) -> None:
        self._say, self._seconds = say, seconds
        self._steps: dict[str, tuple[str, int, int]] = {}
        self._start, self._end = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def update(self, step: str, done: int, total: int) -> None:
        """Remember how far `step` is; a finished one is forgotten."""
        name = _name_of(step)
        self._steps.pop(name, None)
        if done < total:
            self._steps[name] = (step, done, total)

    def stop(self) -> None:
        """No more lines."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            steps = list(self._steps.values()) or [("working", 0, 1)]
            step, done, total = steps[-1]
            share = f" {done}/{total}" if total > 1 else ""
            self._say(f"... {step}{share}, {time.monotonic() - self._start:.0f} s so far")
