"""``onnxcompress targets``: deployment targets and what each wants from a model."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer

from onnxcompress.cli.build import build
from onnxcompress.cli.console import write_result
from onnxcompress.cli.options import JsonFlag, LogFlags
from onnxcompress.targets import Target, load_target, target_names


def _complete(incomplete: str) -> list[str]:
    return [name for name in target_names() if name.startswith(incomplete)]


Name = Annotated[
    str | None,
    typer.Argument(metavar="[TARGET]", help="Show one target in full.", autocompletion=_complete, show_default=False),
]


def targets(name: Name, output: JsonFlag, log: LogFlags) -> None:
    """List the deployment targets, or show one with its facts."""
    found = [load_target(n) for n in ([name] if name else target_names())]
    if output.json:
        plain = [dataclasses.asdict(t) for t in found]
        write_result(json.dumps(plain[0] if name else plain, indent=2, ensure_ascii=False))
    else:
        write_result(_detail(found[0]) if name else _list(found))


def _list(found: list[Target]) -> str:
    width = max(len(t.name) for t in found)
    return "\n".join(f"{t.name:<{width}}  {t.summary} ({_evidence(t)})" for t in found)


def _evidence(target: Target) -> str:
    here = f"here: {target.profile}, " if target.profile else ""
    return f"{here}checked: {target.evidence}"


def _detail(target: Target) -> str:
    facts = {f.name: getattr(target, f.name) for f in dataclasses.fields(target)}
    del facts["options"]
    facts |= target.options
    width = max(map(len, facts))
    return "\n".join(f"{key:<{width}}  {_text(value)}" for key, value in facts.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def command() -> Any:
    """The command, ready to be run."""
    return build(targets, name="targets")
