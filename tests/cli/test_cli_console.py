from __future__ import annotations

import io
import logging
import sys
import threading

import pytest
from rich.console import Console

from onnxcompress.cli import console
from onnxcompress.cli.console import Bars, Heartbeat, Terminal, colour_wanted, stdout_for_results, write_result
from onnxcompress.cli.options import LogFlags


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_libraries_print_goes_to_stderr_and_results_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with stdout_for_results():
        sys.stdout.write("chatter\n")
        sys.stdout.flush()
        write_result("result")
    assert capsys.readouterr() == ("result\n", "chatter\n")


def test_colour_only_on_a_terminal_and_only_where_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert colour_wanted(_Screen())
    assert not colour_wanted(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not colour_wanted(_Screen())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour_wanted(_Screen())


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        (LogFlags(quiet=True), []),
        (LogFlags(), ["warning: careful"]),
        (LogFlags(verbose=1), ["step", "warning: careful"]),
        (LogFlags(verbose=2), ["detail", "step", "warning: careful"]),
    ],
)
def test_verbosity(flags: LogFlags, seen: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("onnxcompress.some.room")
    with Terminal(flags):
        logger.debug("detail")
        logger.info("step")
        logger.warning("careful")
    assert capsys.readouterr().err.splitlines() == seen
    assert logging.getLogger("onnxcompress").handlers == []


def test_quiet_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(LogFlags(quiet=True)) as terminal:
        terminal.say("a line")
        terminal.draw("a table")
        terminal.progress("step", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_log_gets_a_line_while_a_step_is_silent() -> None:
    lines: list[str] = []
    spoke = threading.Event()

    def say(text: str) -> None:
        lines.append(text)
        spoke.set()

    beat = Heartbeat(say, seconds=0.01)
    beat.update("reconstruct", 3, 40)
    assert spoke.wait(10)
    beat.stop()
    assert any("3/40" in line or line.startswith("... working") for line in lines)
    count = len(lines)
    spoke.clear()
    assert not spoke.wait(0.05)
    assert len(lines) == count


def test_a_step_whose_figures_change_has_one_bar_and_one_heartbeat() -> None:
    lines: list[str] = []
    spoke = threading.Event()
    beat = Heartbeat(lambda text: (lines.append(text), spoke.set()), seconds=0.05)
    bars = Bars(Console(file=_Screen(), force_terminal=True))
    for progress in (beat, bars):
        progress.update("self-compress", 0, 1)
        progress.update("distill (loss 0.5)", 1, 3)
        progress.update("distill (loss 0.4)", 2, 3)
    (_, bar) = bars._bars.tasks
    assert (bar.description, bar.completed) == ("distill (loss 0.4)", 2)
    for progress in (beat, bars):
        progress.update("distill (loss 0.3)", 3, 3)
    assert [task.description for task in bars._bars.tasks] == ["self-compress"]
    bars.stop()
    spoke.clear()
    assert spoke.wait(10)
    beat.stop()
    assert lines[-1].startswith("... self-compress, ")


def test_a_heartbeat_names_the_innermost_step_that_is_not_done() -> None:
    lines: list[str] = []
    spoke = threading.Event()
    beat = Heartbeat(lambda text: (lines.append(text), spoke.set()), seconds=0.05)
    beat.update("prune-channels", 0, 1)
    beat.update("statistics", 1, 2)
    beat.update("statistics", 2, 2)
    assert spoke.wait(10)
    beat.stop()
    assert lines[0].startswith("... prune-channels, ")


def test_bars_on_a_terminal_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with Terminal(LogFlags()) as terminal:
        terminal.progress("statistics", 1, 4)
        terminal.say("a line between")
        terminal.progress("statistics", 4, 4)
    assert "a line between" in screen.getvalue()
    assert "statistics" in screen.getvalue()


def test_the_error_label_is_red_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert console.report_error(MemoryError(), debug=False) == 6
    assert screen.getvalue().startswith("\033[1;31merror:\033[0m ")
