from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from onnxcompress import registry
from onnxcompress.cli.build import PassFlags, build
from onnxcompress.cli.options import Group, LogFlags, ModelPath, flag
from onnxcompress.passes.base import Pass, option


@dataclass(frozen=True, kw_only=True)
class _Sample(Pass):
    """A pass with an option of each kind."""

    name: ClassVar[str] = "sample"

    ratio: float = option(0.5, "How much [0..1].")
    target: float | str | None = option(None, "Goal.")
    score: str = option("l1", "Which.", choices=("l1", "l2"))
    repair: bool = option(True, "Mend.")
    layer: tuple[str, ...] = option((), "Rates.")
    renamed: int = option(3, "Number.", flag="--other-name")
    quiet: bool = option(False, "Clashes with a shared flag.")

    def run(self, model: Any, ctx: Any) -> list[Any]:
        return []


@dataclass(frozen=True)
class _Own(Group):
    panel: ClassVar[str] = "Own panel"
    many: tuple[str, ...] = flag((), "Several.", metavar="WORD")
    some: int | None = flag(None, "A number.", "--some", "-s")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    real = registry.pass_class
    monkeypatch.setattr(registry, "pass_class", lambda name, local=None: _Sample if name == "sample" else real(name))
    seen: dict[str, Any] = {}

    def body(model: ModelPath, options: PassFlags, own: _Own, log: LogFlags) -> None:
        """Does [nothing]."""
        seen.update(model=model, options=options, own=own, log=log)

    command = build(body, name="body", passes=("sample",))

    def run(*words: str) -> dict[str, Any]:
        command.main([*words], prog_name="body", standalone_mode=False)
        return seen

    return run


def test_groups_arrive_as_instances(call: Callable[..., dict[str, Any]]) -> None:
    seen = call("m.onnx", "--many", "a", "--many", "b", "-s", "4", "-vv")
    assert seen["own"] == _Own(many=("a", "b"), some=4)
    assert seen["log"] == LogFlags(verbose=2)
    assert seen["options"] == {}
    assert call("m.onnx")["own"] == _Own()


def test_pass_options_arrive_as_typed_and_only_when_given(call: Callable[..., dict[str, Any]]) -> None:
    seen = call("m.onnx", "--ratio", "0.25", "--no-repair", "--layer", "a=1", "--layer", "b=2", "--other-name", "7")
    assert seen["options"] == {"ratio": "0.25", "repair": False, "layer": ["a=1", "b=2"], "renamed": "7"}
    made = registry.make_pass("sample", seen["options"])
    assert made == _Sample(ratio=0.25, repair=False, layer=("a=1", "b=2"), renamed=7)


def test_a_shared_flag_wins_over_a_pass_option_of_that_name(call: Callable[..., dict[str, Any]]) -> None:
    seen = call("m.onnx", "--quiet")
    assert seen["log"].quiet
    assert seen["options"] == {}


def test_help_groups_the_flags_and_shows_defaults_and_choices(
    call: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    call("--help")
    text = capsys.readouterr().out
    for part in (
        "Options of sample",
        "Own panel",
        "Messages",
        "[one of: l1, l2]",
        "[0..1]",
        "[default: 0.5]",
        "Does [nothing].",
    ):
        assert part in text
