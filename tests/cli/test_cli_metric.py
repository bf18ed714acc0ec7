"""A user's metric that goes wrong: the right exit code, one line that says what, where and why, no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders.command_line import CommandLine, Outcome

SHAPE = (2, 4, 4)
SCRIPT = """
import numpy as np
calls = []
def right(outputs, labels): return float((outputs["y"].reshape(len(labels), -1).argmax(1) == labels).mean())
def empty(outputs, labels): return {}
def nan(outputs, labels): return {"a": 1.0, "b": float("nan")}
def text(outputs, labels): return "0.97"
def worded(outputs, labels): return {"a": "good"}
def nested(outputs, labels): return {"a": {"b": 1.0}}
def array(outputs, labels): return np.ones(3)
def none(outputs, labels): return None
def lines(outputs, labels): return {"a\\nb": 1.0}
def long(outputs, labels): return {"a" * 10_000: 1.0}
def unnamed(outputs, labels): return {"": 1.0}
def twice(outputs, labels): return {1: 1.0, "1": 0.5}
def colours(outputs, labels): return {"\\x1b[31mred": 1.0}
def raising(outputs, labels): raise RuntimeError("no\\ndisk " + "x" * 100_000)
def ending(outputs, labels): raise SystemExit(0)
def typo(outputs, labels): return outputs["logit"].mean()
def few(outputs): return 1.0
def odd(outputs, labels):
    calls.append(1)
    return {f"call {len(calls)}": 1.0}
def stopped(outputs, labels): raise KeyboardInterrupt
def marked(outputs, labels): return {"[/red]a": 0.5, "[bold]b": 0.25}
def counts(counted):
    def metric(outputs, labels): return 1.0
    metric.counted = counted
    return metric
def _raise(labels): raise RuntimeError("no positives known")
counted_raises, counted_word = counts(_raise), counts(lambda labels: "many")
counted_number, counted_dict = counts(7), counts(lambda labels: {"a": 1})
counted_below, counted_infinite = counts(lambda labels: -3), counts(lambda labels: float("inf"))
counted_none, counted_zero = counts(lambda labels: None), counts(lambda labels: 0)
"""
FAULTS = {
    "empty": "it gave no number",
    "nan": "it gave nan for 'b'",
    "text": "it gave '0.97'",
    "worded": "it gave 'good' for 'a'",
    "nested": "it gave dict for 'a', and no number",
    "array": "it gave ndarray of shape (3,), and no number",
    "none": "it gave NoneType, and no number",
    "lines": "it gave the name 'a\\nb'",
    "long": "it gave the name 'aaaa",
    "unnamed": "it gave the name ''",
    "twice": "it gave one name twice",
    "colours": "it gave the name '\\x1b[31mred'",
    "raising": "RuntimeError: no disk xxxx",
    "ending": "SystemExit: 0",
    "typo": "KeyError: 'logit' (the outputs are ['y'])",
    "few": "TypeError: few() takes 1 positional argument",
    "odd": "it gave ['call 1'] for the first model alone and ['call 2'] for the second alone",
}
COUNTS = {
    "counted_raises": "its `counted`: RuntimeError: no positives known",
    "counted_word": "its `counted`: ValueError",
    "counted_number": "its `counted`: TypeError: 'int' object is not callable",
    "counted_dict": "its `counted`: TypeError",
    "counted_below": "its `counted` gave -3",
    "counted_infinite": "its `counted`: OverflowError",
}


@pytest.fixture
def words(model: Path) -> list[str | Path]:
    """A command with 40 labelled samples; the name of the metric's function is to be added."""
    (model.parent / "mine.py").write_text(SCRIPT, encoding="utf-8")
    samples = np.random.default_rng(0).normal(size=(40, *SHAPE)).astype(np.float32)
    np.savez(model.with_name("samples.npz"), x=samples, labels=np.arange(40) % 2)
    return ["run", "fold-batchnorm", model, "--data", model.with_name("samples.npz"), "--no-progress", "--metric"]


def refused(outcome: Outcome, code: int, part: str, folder: Path) -> None:
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert part in last
    assert len(last) < 800
    assert "Traceback" not in outcome.err
    assert not list(folder.glob("*.compressed.onnx"))


@pytest.mark.parametrize("name", FAULTS)
def test_a_metric_that_fails(cli: CommandLine, words: list[str | Path], tmp_path: Path, name: str) -> None:
    outcome = cli(*words, f"{tmp_path / 'mine.py'}:{name}")
    refused(outcome, 4, FAULTS[name], tmp_path)
    assert "higher is better" in outcome.err or "printable characters" in outcome.err


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_fails_is_told_before_any_work(
    cli: CommandLine, words: list[str | Path], tmp_path: Path, name: str
) -> None:
    outcome = cli(*words, f"{tmp_path / 'mine.py'}:{name}", "--max-drop", "50pt")
    refused(outcome, 4, COUNTS[name], tmp_path)
    assert "how many samples the metric divides by" in outcome.err
    assert "fold-batchnorm:" not in outcome.err


def test_a_count_of_nothing_refuses_the_gate_and_one_that_is_not_known_does_not(
    cli: CommandLine, words: list[str | Path], tmp_path: Path
) -> None:
    outcome = cli(*words, f"{tmp_path / 'mine.py'}:counted_zero", "--max-drop", "50pt")
    refused(outcome, 2, "there are no samples that the metric counts", tmp_path)
    assert cli(*words, f"{tmp_path / 'mine.py'}:counted_none", "--max-drop", "50pt").code == 0


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("mine.py:absent", "mine.py has no function 'absent'"),
        ("mine.py:calls", "mine.py has no function 'calls'"),
        ("none.py:f", "there is no file"),
        ("mine.py", "does not name a function"),
        ("broken.py:f", "ZeroDivisionError"),
    ],
)
def test_a_metric_that_is_not_there_is_wrong_usage(
    cli: CommandLine, words: list[str | Path], tmp_path: Path, spec: str, part: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    refused(cli(*words, str(tmp_path / spec)), 2, part, tmp_path)


def test_an_interruption_stays_one(cli: CommandLine, words: list[str | Path], tmp_path: Path) -> None:
    refused(cli(*words, f"{tmp_path / 'mine.py'}:stopped"), 130, "interrupted", tmp_path)


def test_without_labels_a_metric_is_refused_before_any_work(
    cli: CommandLine, words: list[str | Path], tmp_path: Path
) -> None:
    np.savez(tmp_path / "samples.npz", x=np.ones((40, *SHAPE), np.float32))
    outcome = cli(*words, f"{tmp_path / 'mine.py'}:right")
    refused(outcome, 4, "the data holds no labels", tmp_path)
    assert "fold-batchnorm:" not in outcome.err


def test_names_are_shown_as_they_are(cli: CommandLine, words: list[str | Path], tmp_path: Path) -> None:
    outcome = cli(*words, f"{tmp_path / 'mine.py'}:marked")
    assert outcome.code == 0
    assert all(name in outcome.err for name in ("[/red]a", "[bold]b"))
