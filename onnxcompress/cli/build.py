"""Turns a typed function into a command: each parameter annotated with a group becomes that group's flags.

A command's function asks for what it needs by type (`OutputFlags`, `DataFlags`, `PassFlags`, ...) and gets instances of
those classes; pass options are read from the pass's dataclass fields. Nothing is declared twice.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from onnxcompress.cli.console import interruptible, stdout_for_results
from onnxcompress.cli.options import Group
from onnxcompress.registry import OptionInfo, describe

_PREFIX = "option__"


class PassFlags(dict[str, Any]):
    """Options of the command's passes that the user gave, by field name; values as typed, parsed by the registry."""


def build(body: Callable[..., None], *, name: str, passes: Sequence[str] = ()) -> Any:
    """The command (a click object) that calls `body`.

    Args:
        body: The function; its docstring is the help text.
        name: Name on the command line.
        passes: Names of passes whose options become flags, where `body` asks for `PassFlags`.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name=name, help=_paragraphs(inspect.getdoc(body) or ""))(_callback(body, passes))
    return typer.main.get_command(app)


def _callback(body: Callable[..., None], passes: Sequence[str]) -> Callable[..., None]:
    hints = typing.get_type_hints(body, include_extras=True)
    hints.pop("return", None)
    groups = {key: hint for key, hint in hints.items() if _is_group(hint)}
    shared = [p for hint in groups.values() for p in _group_parameters(hint)]
    parameters = [_positional(key, hint) for key, hint in hints.items() if not (_is_group(hint) or hint is PassFlags)]
    if PassFlags in hints.values():
        parameters += _pass_parameters(passes, taken=_flags_of(shared))
    parameters += shared

    def callback(**values: Any) -> None:
        with stdout_for_results(), interruptible():
            body(**{key: _collect(hint, key, values) for key, hint in hints.items()})

    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # a function takes attributes
    callback.__annotations__ = {p.name: p.annotation for p in parameters}
    return callback


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Group)


def _collect(hint: Any, key: str, values: Mapping[str, Any]) -> Any:
    if hint is PassFlags:
        given = {k.removeprefix(_PREFIX): v for k, v in values.items() if k.startswith(_PREFIX)}
        return PassFlags({k: v for k, v in given.items() if v is not None and v != []})
    if not _is_group(hint):
        return values[key]
    own = {f.name: values[f.name] for f in dataclasses.fields(hint)}
    return hint(**{k: tuple(v) if isinstance(v, list) else v for k, v in own.items()})


def _positional(key: str, hint: Any) -> inspect.Parameter:
    """A positional parameter; one whose type allows None may be left out."""
    optional = type(None) in typing.get_args(typing.get_args(hint)[0])
    return _parameter(key, hint, None if optional else inspect.Parameter.empty)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _group_parameters(group: type[Group]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group)
    return [_group_parameter(f, hints[f.name], group.panel) for f in dataclasses.fields(group)]


def _group_parameter(field: dataclasses.Field[Any], hint: Any, panel: str) -> inspect.Parameter:
    many = typing.get_origin(hint) is tuple
    kind: Any = list[typing.get_args(hint)[0]] if many else hint
    counted = hint is int and field.name == "verbose"
    info = typer.Option(
        *(field.metadata["names"] or (_kebab(field.name),)),
        help=_escape(field.metadata["help"]),
        metavar=field.metadata["metavar"],
        show_default=False,
        count=counted,
        rich_help_panel=panel,
        autocompletion=_completion(field.metadata["complete"]),
    )
    return _parameter(field.name, Annotated[kind, info], [] if many else field.default)


def _pass_parameters(passes: Sequence[str], taken: set[str]) -> list[inspect.Parameter]:
    parameters: list[inspect.Parameter] = []
    for name in passes:
        for info in describe(name).options:
            names = set(_declarations(info))
            if not names & taken:
                parameters.append(_pass_parameter(info, f"Options of {name}"))
                taken = taken | names
    return parameters


def _pass_parameter(info: OptionInfo, panel: str) -> inspect.Parameter:
    many = typing.get_origin(info.type) is tuple
    kind: Any = bool | None if _is_switch(info) else (list[str] if many else str | None)
    option = typer.Option(
        "/".join(_declarations(info)),
        help=_escape(info.help + _words_of(info) + _shown(info.default)),
        metavar="" if _is_switch(info) else _metavar(info),
        show_default=False,
        rich_help_panel=panel,
        autocompletion=_completion("|".join(info.choices)),
    )
    return _parameter(_PREFIX + info.name, Annotated[kind, option], [] if many else None)


def _is_switch(info: OptionInfo) -> bool:
    return info.type is bool


def _declarations(info: OptionInfo) -> list[str]:
    """A boolean option is a pair of flags, so that a recipe's or pass's default can be turned either way."""
    return [info.flag, "--no-" + info.flag.removeprefix("--")] if _is_switch(info) else [info.flag]


def _flags_of(parameters: Iterable[inspect.Parameter]) -> set[str]:
    return {flag for p in parameters for flag in p.annotation.__metadata__[0].param_decls or ()} | {
        p.annotation.__metadata__[0].default
        for p in parameters
        if isinstance(p.annotation.__metadata__[0].default, str)
    }


def _metavar(info: OptionInfo) -> str:
    if info.choices:
        return "WORD"
    union = typing.get_origin(info.type) in (types.UnionType, typing.Union)
    kinds = [k for k in (typing.get_args(info.type) if union else (info.type,)) if k is not type(None)]
    return {int: "N", float: "NUMBER"}.get(kinds[0], "TEXT") if len(kinds) == 1 else "VALUE"


def _words_of(info: OptionInfo) -> str:
    """The words that an option takes; behind its help, for a column of them would leave the help none at 80 columns."""
    return f" [one of: {', '.join(info.choices)}]" if info.choices else ""


def _shown(default: Any) -> str:
    if default is None or default == () or default == "":
        return ""
    if isinstance(default, bool):
        return " [default: on]" if default else " [default: off]"
    return f" [default: {', '.join(default) if isinstance(default, tuple) else default}]"


def _completion(words: str) -> Callable[[str], list[str]] | None:
    if not words:
        return None

    def complete(incomplete: str) -> list[str]:
        return [word for word in _words(words) if word.startswith(incomplete)]

    return complete


def _words(words: str) -> list[str]:
    if words == "targets":
        from onnxcompress.targets import target_names

        return target_names()
    if words == "presets":
        from onnxcompress.data import PRESETS

        return sorted(PRESETS)
    return words.split("|")


def _kebab(name: str) -> str:
    return "--" + name.replace("_", "-")


def _paragraphs(text: str) -> str:
    """A docstring with each paragraph on one line, so that the terminal's width breaks it."""
    return "\n\n".join(_escape(" ".join(part.split())) for part in text.split("\n\n"))


def _escape(text: str) -> str:
    """Help texts speak of lists and ranges; typer would read their brackets as markup."""
    return text.replace("[", r"\[")
