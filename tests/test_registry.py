from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onnxcompress import registry
from onnxcompress.errors import UsageError

LOCAL = """
from dataclasses import dataclass
from typing import ClassVar
from onnxcompress.passes.base import Effect, Pass, option

@dataclass(frozen=True, kw_only=True)
class Nothing(Pass):
    \"\"\"Do nothing.\"\"\"

    name: ClassVar[str] = "nothing"
    effect: ClassVar[Effect] = Effect.EXACT
    count: int = option(1, "How often.")
    rate: float | None = option(None, "How much.")
    mode: str = option("a", "Which way.", choices=("a", "b"))
    names: tuple[str, ...] = option((), "Which.")
    fast: bool = option(False, "Quickly.")

    def run(self, model, ctx):
        return []
"""


@pytest.fixture
def local(tmp_path: Path) -> dict[str, type]:
    (tmp_path / "mine.py").write_text(LOCAL)
    found = registry.load_local(f"{tmp_path / 'mine.py'}:Nothing")
    return {found.name: found}


@pytest.mark.parametrize("name", list(registry.BUILT_IN))
def test_every_built_in_name_leads_to_a_class_of_that_name(name: str) -> None:
    info = registry.describe(name)
    assert registry.pass_class(name).name == info.name == name
    assert info.summary.endswith(".")
    assert all(option.help for option in info.options)


def test_describing_passes_loads_neither_numpy_nor_onnx() -> None:
    code = (
        "import sys; from onnxcompress import registry; [registry.describe(n) for n in registry.BUILT_IN];"
        "print([m for m in ('numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_strings_become_what_the_field_wants(local: dict[str, type]) -> None:
    given = {"count": "3", "rate": "0.5", "mode": "b", "names": "x, re:y", "fast": "true"}
    made = registry.make_pass("nothing", given, local)
    assert made.spec() == {
        "pass": "nothing",
        "count": 3,
        "rate": 0.5,
        "mode": "b",
        "names": ["x", "re:y"],
        "fast": True,
    }


def test_none_is_written_as_a_word(local: dict[str, type]) -> None:
    assert registry.make_pass("nothing", {"rate": "none"}, local).spec() == {"pass": "nothing"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"count": "many"}, "a whole number"),
        ({"count": 1.5}, "a whole number"),
        ({"mode": "c"}, "one of a, b"),
        ({"fast": "perhaps"}, "true or false"),
        ({"speed": "1"}, "has no option 'speed'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(local: dict[str, type], options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        registry.make_pass("nothing", options, local)


def test_unknown_pass_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown pass 'prune'.*prune-channels"):
        registry.pass_class("prune")


@pytest.mark.parametrize("spec", ["nowhere.py:X", "noclass.py", "mine.py:Missing", "mine.py:dataclass"])
def test_a_local_pass_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(LOCAL)
    with pytest.raises(UsageError, match=r"cannot load|is not a pass"):
        registry.load_local(spec)


def test_python_values_stand_for_the_text_of_the_command_line():
    made = registry.make_pass("distill", {"lr": 0.01, "resume": Path("run")})
    assert made.spec()["lr"] == 0.01
    assert vars(made)["resume"] == "run"
    assert vars(registry.make_pass("distill", {"lr": "1e-2"}))["lr"] == 0.01
    assert vars(registry.make_pass("distill", {"lr": "auto"}))["lr"] == "auto"
