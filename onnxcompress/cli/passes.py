"""``onnxcompress passes``: what passes there are, and what their options mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from onnxcompress.cli.build import build
from onnxcompress.cli.console import write_result
from onnxcompress.cli.options import Group, JsonFlag, LogFlags, flag
from onnxcompress.registry import PassInfo, describe, load_local, pass_names, type_text


def _complete(incomplete: str) -> list[str]:
    return [name for name in pass_names() if name.startswith(incomplete)]


Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[PASS]", help="Show one pass with its options.", autocompletion=_complete, show_default=False
    ),
]


@dataclass(frozen=True)
class LocalFlag(Group):
    """Passes that are not installed."""

    panel: ClassVar[str] = "Options"
    load: tuple[str, ...] = flag((), "Load a pass of your own; this runs that file.", "--pass", metavar="FILE.py:CLASS")


def passes(name: Name, local: LocalFlag, output: JsonFlag, log: LogFlags) -> None:
    """List the passes, or show one with its options."""
    own = {cls.name: cls for cls in map(load_local, local.load)}
    if name is None:
        infos = [describe(n, own) for n in (*pass_names(), *own)]
        write_result(_json([_plain(i) for i in infos]) if output.json else _list(infos))
    else:
        info = describe(name, own)
        write_result(_json(_plain(info)) if output.json else _detail(info))


def _list(infos: list[PassInfo]) -> str:
    width = max(len(i.name) for i in infos)
    return "\n".join(f"{i.name:<{width}}  {i.effect:<8}  {i.summary}" for i in infos)


def _detail(info: PassInfo) -> str:
    lines = [f"{info.name}: {info.summary}", f"effect: {info.effect}; data: {info.needs_data}; from {info.origin}"]
    for option in info.options:
        takes = "|".join(option.choices) or type_text(option.type)
        lines += ["", f"  {option.name} = {option.default!r}  ({takes})", f"      {option.help}"]
    return "\n".join(lines if info.options else [*lines, "", "  no options"])


def _plain(info: PassInfo) -> dict[str, Any]:
    options = [
        {
            "name": o.name,
            "flag": o.flag,
            "type": type_text(o.type),
            "default": list(o.default) if isinstance(o.default, tuple) else o.default,
            "choices": list(o.choices),
            "help": o.help,
        }
        for o in info.options
    ]
    return {
        "name": info.name,
        "summary": info.summary,
        "effect": info.effect,
        "needs_data": info.needs_data,
        "origin": info.origin,
        "options": options,
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def command() -> Any:
    """The command, ready to be run."""
    return build(passes, name="passes")
