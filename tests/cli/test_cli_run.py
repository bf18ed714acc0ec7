from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.command_line import CommandLine

RECIPE = """
schema = "onnxcompress.recipe/1"
[settings]
target = "tensorrt"
[[passes]]
pass = "normalize"
merge = false
[[passes]]
pass = "fold-batchnorm"
"""

LOCAL = '''
from dataclasses import dataclass
from onnxcompress import Effect, Finding, Pass

@dataclass(frozen=True, kw_only=True)
class Rename(Pass):
    """Give the graph another name."""
    name = "rename-graph"
    effect = Effect.EXACT
    to: str = "renamed"

    def run(self, model, ctx):
        model.graph.name = self.to
        yield Finding("RENAMED", "the graph has another name")
'''


def test_a_recipe_file_runs_its_passes_and_flags_win_over_its_settings(cli: CommandLine, model: Path) -> None:
    recipe = model.with_name("recipe.toml")
    recipe.write_text(RECIPE)
    outcome = cli("run", recipe, model, "--json")
    report = json.loads(outcome.out)
    assert [record["name"] for record in report["passes"]] == ["normalize", "fold-batchnorm"]
    outcome = cli("run", recipe, model, "--set", "normalize.fold=false", "--target", "ort-cpu", "--dry-run")
    assert 'target = "ort-cpu"' in outcome.out
    assert "merge = false" in outcome.out
    assert "fold = false" in outcome.out


def test_an_option_of_a_single_pass_with_or_without_its_name(cli: CommandLine, model: Path) -> None:
    for key in ("fold", "normalize.fold"):
        assert "fold = false" in cli("run", "normalize", model, "--set", f"{key}=false", "--dry-run").out


def test_a_pass_from_a_file(cli: CommandLine, model: Path) -> None:
    file = model.with_name("rename.py")
    file.write_text(LOCAL)
    outcome = cli("run", "rename-graph", model, "--pass", f"{file}:Rename", "--set", "to=other", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["recipe"] == [{"pass": "rename-graph", "to": "other"}]
    assert "rename-graph" in cli("passes", "--pass", f"{file}:Rename").out
    assert "to = 'renamed'" in cli("passes", "rename-graph", "--pass", f"{file}:Rename").out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("nosuch",), ("unknown pass 'nosuch'", "normalize", "--pass")),
        (("nosuch.toml",), ("cannot read the recipe nosuch.toml",)),
        (("normalize", "--set", "fold"), ("--set KEY=VALUE",)),
        (("normalize", "--set", "nosuch=1"), ("no option 'nosuch'", "fold")),
        (("normalize", "--set", "fold=maybe"), ("'maybe'", "true or false")),
        (("normalize", "--target", "toaster"), ("unknown target 'toaster'", "ort-cpu")),
        (("normalize", "--pass", "nosuch.py:Class"), ("nosuch.py:Class",)),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(
    cli: CommandLine, model: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    outcome = cli("run", words[0], model, *words[1:])
    assert (outcome.code, outcome.out) == (2, "")
    assert all(part in outcome.err for part in parts), outcome.err


def test_auto_without_data_says_what_works_without(cli: CommandLine, model: Path) -> None:
    outcome = cli("run", "auto", model)
    assert outcome.code == 2
    assert "--data" in outcome.err
    assert "prune and quantize" in outcome.err
