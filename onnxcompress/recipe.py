"""A recipe: passes in order and the settings of the run, as TOML and back without loss.

schema = "onnxcompress.recipe/1"

[settings]
target = "tensorrt"

[[passes]]
pass = "prune-channels"
target_macs = "0.5x"
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxcompress.errors import UsageError
from onnxcompress.registry import make_pass

if TYPE_CHECKING:
    from onnxcompress.passes.base import Pass

SCHEMA = "onnxcompress.recipe/1"
SETTINGS = {
    "target": str,
    "seed": int,
    "max_drop": str,
    "min_sqnr": float,
    "verify": str,
    "allow_unchanged": bool,
    "only": list,
    "exclude": list,
}


@dataclass(frozen=True)
class Recipe:
    """What a run does.

    Attributes:
        passes: In the order in which they run.
        settings: Those of `SETTINGS` that the recipe fixes.
        notes: What whoever runs it should know of how it came to be; no part of its text form.
    """

    passes: tuple[Pass, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def entries(self) -> list[dict[str, Any]]:
        """The passes as plain values."""
        return [p.spec() for p in self.passes]


def load_recipe(path: str | Path, local: Mapping[str, type[Pass]] | None = None) -> Recipe:
    """The recipe in a TOML file.

    Raises:
        UsageError: Where the file is missing, is not TOML, or holds something unknown.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        reason = getattr(cause, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"cannot read the recipe {file}", why=reason, hint="Check the path.") from cause
    return parse_recipe(text, origin=str(file), local=local)


def parse_recipe(text: str, *, origin: str = "recipe", local: Mapping[str, type[Pass]] | None = None) -> Recipe:
    """The recipe in a TOML text; `origin` names it in errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise UsageError(f"{origin} is not valid TOML", why=str(cause), hint="Mend that line.") from cause
    _check_keys(raw, origin)
    entries = raw.get("passes", [])
    if not entries:
        raise UsageError(f"{origin} holds no pass", hint='Add a [[passes]] table with pass = "NAME".')
    return Recipe(tuple(_pass_of(e, origin, local) for e in entries), dict(raw.get("settings", {})))


def dump_recipe(recipe: Recipe) -> str:
    """The TOML text of a recipe; `parse_recipe` gives the same recipe back."""
    lines = [f'schema = "{SCHEMA}"']
    if recipe.settings:
        lines += ["", "[settings]", *(f"{k} = {_toml(v)}" for k, v in recipe.settings.items())]
    for entry in recipe.entries():
        lines += ["", "[[passes]]", *(f"{k} = {_toml(v)}" for k, v in entry.items())]
    return "\n".join(lines) + "\n"


def _check_keys(raw: dict[str, Any], origin: str) -> None:
    schema = raw.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise UsageError(f"{origin} has the schema {schema!r}", hint=f"This version reads {SCHEMA!r}.")
    settings = raw.get("settings", {})
    unknown = (set(raw) - {"schema", "settings", "passes"}) | (set(settings) - set(SETTINGS))
    if unknown:
        raise UsageError(
            f"{origin} holds the unknown key {sorted(unknown)[0]!r}",
            hint=f"Settings are: {', '.join(SETTINGS)}; everything else goes into [[passes]].",
        )
    for key, value in settings.items():
        wanted = list if key == "target" and isinstance(value, list) else SETTINGS[key]
        if not _fits(value, wanted):
            kind = "a list of texts" if wanted is list else f"of type {wanted.__name__}"
            raise UsageError(f"the setting {key} of {origin} must be {kind}", why=f"it is {value!r}")


def _fits(value: Any, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is wanted and (wanted is not list or all(isinstance(v, str) for v in value))


def _pass_of(entry: dict[str, Any], origin: str, local: Mapping[str, type[Pass]] | None) -> Pass:
    if "pass" not in entry:
        raise UsageError(f"an entry of {origin} does not say which pass it is", hint='Add pass = "NAME".')
    return make_pass(entry["pass"], {k: v for k, v in entry.items() if k != "pass"}, local)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    # None is written "none" and read back by the option's type. JSON's escapes are TOML's, but for DEL.
    return json.dumps("none" if value is None else str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
