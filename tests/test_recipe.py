from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcompress import registry
from onnxcompress.errors import UsageError
from onnxcompress.recipe import Recipe, dump_recipe, load_recipe, parse_recipe

TEXT = """schema = "onnxcompress.recipe/1"

[settings]
target = "tensorrt"
seed = 3
max_drop = "0.5pt"

[[passes]]
pass = "normalize"

[[passes]]
pass = "prune-channels"
ratio = 0.25

[[passes]]
pass = "reconstruct"
samples = 64
"""


def test_text_to_passes_and_back_is_the_same_text() -> None:
    recipe = parse_recipe(TEXT)
    assert [p.name for p in recipe.passes] == ["normalize", "prune-channels", "reconstruct"]
    assert recipe.settings == {"target": "tensorrt", "seed": 3, "max_drop": "0.5pt"}
    assert dump_recipe(recipe) == TEXT


@pytest.mark.parametrize("name", list(registry.BUILT_IN))
def test_every_pass_survives_the_trip_with_all_options_changed(name: str) -> None:
    options = {o.name: _other(o) for o in registry.describe(name).options}
    made = registry.make_pass(name, {k: v for k, v in options.items() if v is not None})
    again = parse_recipe(dump_recipe(Recipe((made,))))
    assert again.passes == (made,)


def _other(info: registry.OptionInfo) -> object:
    """A value of the option's type that is not its default."""
    if info.choices:
        return next((c for c in info.choices if c != info.default), None)
    examples: list[object] = [True, False, 7, 0.125, 'a "quoted" \\ text', ("x", "re:y.*")]
    for example in examples:
        try:
            value = registry._convert(info.type, example)
        except (TypeError, ValueError):
            continue
        if value is not registry._NO_FIT and value != info.default:
            return value
    return None


@given(st.text(max_size=40))
def test_any_text_survives(text: str) -> None:
    made = registry.make_pass("prune-channels", {"layer": (text,)})
    assert parse_recipe(dump_recipe(Recipe((made,)))).passes == (made,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[passes]", "not valid TOML"),
        ("", "holds no pass"),
        ("[[passes]]\nratio = 0.5", "does not say which pass"),
        ('[[passes]]\npass = "prune"', "unknown pass"),
        ('[[passes]]\npass = "reconstruct"\nsample = 3', "no option 'sample'"),
        ('[setings]\ntarget = "x"\n[[passes]]\npass = "normalize"', "unknown key 'setings'"),
        ('[settings]\nspeed = 1\n[[passes]]\npass = "normalize"', "unknown key 'speed'"),
        ('[settings]\nseed = "one"\n[[passes]]\npass = "normalize"', "must be of type int"),
        ('schema = "onnxcompress.recipe/9"\n[[passes]]\npass = "normalize"', "recipe/9"),
    ],
)
def test_a_bad_recipe_is_refused_by_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_recipe(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.toml")
