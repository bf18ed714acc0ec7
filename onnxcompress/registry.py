"""Pass names and the classes behind them, found lazily: listing names imports no pass.

Third parties add passes through the entry-point group ``onnxcompress.passes``. A name that two distributions
claim is an error that names both. ``ONNXCOMPRESS_NO_PLUGINS=1`` switches plug-ins off.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import os
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Pass

GROUP = "onnxcompress.passes"

BUILT_IN: Mapping[str, str] = types.MappingProxyType(
    {
        "normalize": "onnxcompress.passes.normalize:Normalize",
        "fold-batchnorm": "onnxcompress.passes.fold_batchnorm:FoldBatchNorm",
        "equalize": "onnxcompress.passes.equalize:Equalize",
        "prune-blocks": "onnxcompress.passes.prune_blocks:PruneBlocks",
        "prune-channels": "onnxcompress.passes.prune_channels:PruneChannels",
        "prune-weights": "onnxcompress.passes.prune_weights:PruneWeights",
        "reconstruct": "onnxcompress.passes.reconstruct:Reconstruct",
        "remove-qdq": "onnxcompress.passes.remove_qdq:RemoveQDQ",
        "quantize-weights": "onnxcompress.passes.quantize_weights:QuantizeWeights",
        "quantize-dynamic": "onnxcompress.passes.quantize_dynamic:QuantizeDynamic",
        "insert-qdq": "onnxcompress.passes.insert_qdq:InsertQDQ",
        "round-weights": "onnxcompress.passes.round_weights:RoundWeights",
        "correct-bias": "onnxcompress.passes.correct_bias:CorrectBias",
        "convert-float": "onnxcompress.passes.convert_float:ConvertFloat",
        "distill": "onnxcompress.passes.distill:Distill",
        "self-compress": "onnxcompress.passes.self_compress:SelfCompress",
    }
)


@dataclass(frozen=True)
class OptionInfo:
    """One option of a pass, for help texts: the field's name, its flag, its type and what it means."""

    name: str
    flag: str
    type: Any
    default: Any
    help: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class PassInfo:
    """A pass as the user sees it."""

    name: str
    summary: str
    effect: str
    needs_data: str
    origin: str
    options: tuple[OptionInfo, ...]


def pass_names() -> list[str]:
    """All registered names: built in first, in the order of a usual recipe, then plug-ins by name."""
    return [*BUILT_IN, *sorted(_plugins())]


def pass_class(name: str, local: Mapping[str, type[Pass]] | None = None) -> type[Pass]:
    """The class registered under `name`; `local` adds classes loaded from files.

    Raises:
        UsageError: Where the name is unknown, or its plug-in cannot be imported.
    """
    if local and name in local:
        return local[name]
    if name in BUILT_IN:
        module, attribute = BUILT_IN[name].split(":")
        return getattr(importlib.import_module(module), attribute)
    plugins = _plugins()
    if name not in plugins:
        raise UsageError(
            f"unknown pass {name!r}",
            hint=f"Use one of: {', '.join(pass_names())}; or --pass ./file.py:Class for a pass of your own.",
            code="USAGE-UNKNOWN-PASS",
        )
    return _load_plugin(name, plugins[name])


def load_local(spec: str) -> type[Pass]:
    """The pass class behind ``path/to/file.py:Class``. This runs the code in that file.

    Raises:
        UsageError: Where file or class is missing, or the class is not a Pass.
    """
    file, _, attribute = spec.rpartition(":")
    path = Path(file)
    if not attribute or not path.is_file():
        raise UsageError(f"cannot load the pass {spec!r}", why="no such file", hint="Write it as ./file.py:Class.")
    unique = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
    definition = importlib.util.spec_from_file_location(f"onnxcompress_local_{unique}", path)
    assert definition is not None
    assert definition.loader is not None
    module = importlib.util.module_from_spec(definition)
    sys.modules[definition.name] = module  # dataclasses look the module of a class up by its name
    definition.loader.exec_module(module)
    return _checked(getattr(module, attribute, None), spec)


def make_pass(name: str, options: Mapping[str, Any], local: Mapping[str, type[Pass]] | None = None) -> Pass:
    """An instance of the pass `name`; option values may be strings, as a command line gives them.

    Raises:
        UsageError: For an unknown option or a value that does not fit its type or choices.
    """
    cls = pass_class(name, local)
    known = {info.name: info for info in options_of(cls)}
    values = {}
    for key, value in options.items():
        field = key.replace("-", "_")
        if field not in known:
            raise UsageError(
                f"the pass {name} has no option {key!r}",
                hint=f"Its options are: {', '.join(known) or 'none'}.",
                code="USAGE-UNKNOWN-OPTION",
            )
        values[field] = _parse(name, known[field], value)
    return cls(**values)


def options_of(cls: type[Pass]) -> tuple[OptionInfo, ...]:
    """The options of a pass class, read from its dataclass fields."""
    hints = typing.get_type_hints(cls)
    return tuple(
        OptionInfo(
            name=f.name,
            flag=f.metadata.get("flag") or "--" + f.name.replace("_", "-"),
            type=hints[f.name],
            default=f.default,
            help=f.metadata.get("help", ""),
            choices=tuple(f.metadata.get("choices", ())),
        )
        for f in dataclasses.fields(cls)
    )


def describe(name: str, local: Mapping[str, type[Pass]] | None = None) -> PassInfo:
    """Everything a help text says about a pass; imports that pass's module and nothing more."""
    cls = pass_class(name, local)
    summary = (cls.__doc__ or "").strip().split("\n", 1)[0]
    origin = BUILT_IN.get(name, f"{cls.__module__}:{cls.__qualname__}")
    return PassInfo(name, summary, cls.effect.value, cls.needs_data, origin, options_of(cls))


def _plugins() -> dict[str, Any]:
    if os.environ.get("ONNXCOMPRESS_NO_PLUGINS"):
        return {}
    from importlib.metadata import entry_points

    found: dict[str, Any] = {}
    for entry in entry_points(group=GROUP):
        other = found.get(entry.name)
        if entry.name in BUILT_IN or (other is not None and other.value != entry.value):
            _raise_clash(entry, other)
        found[entry.name] = entry
    return found


def _raise_clash(entry: Any, other: Any) -> None:
    owner = f"{other.dist.name} ({other.value})" if other is not None else "onnxcompress itself"
    raise UsageError(
        f"two distributions register the pass {entry.name!r}",
        why=f"{entry.dist.name} ({entry.value}) and {owner}",
        hint="Uninstall one of them, or set ONNXCOMPRESS_NO_PLUGINS=1.",
        code="USAGE-PLUGIN-CLASH",
    )


def _load_plugin(name: str, entry: Any) -> type[Pass]:
    try:
        loaded = entry.load()
    except (ImportError, AttributeError, SyntaxError) as cause:
        raise UsageError(
            f"the pass {name!r} of the plug-in {entry.dist.name} cannot be imported",
            why=str(cause),
            hint="Reinstall that plug-in, or set ONNXCOMPRESS_NO_PLUGINS=1.",
            code="USAGE-PLUGIN-BROKEN",
        ) from cause
    return _checked(loaded, entry.value)


def _checked(found: Any, spec: str) -> type[Pass]:
    if not (isinstance(found, type) and issubclass(found, Pass) and dataclasses.is_dataclass(found)):
        raise UsageError(
            f"{spec} is not a pass",
            why="it is not a frozen dataclass that derives from onnxcompress.Pass",
            hint="See docs/writing-a-pass.md.",
            code="USAGE-NOT-A-PASS",
        )
    return found


def _parse(pass_name: str, info: OptionInfo, value: Any) -> Any:
    parsed = _convert(info.type, value)
    wrong = parsed is _NO_FIT or (info.choices and parsed is not None and not _allowed(parsed, info.choices))
    if wrong:
        wanted = f"one of {', '.join(info.choices)}" if info.choices else type_text(info.type)
        raise UsageError(
            f"{value!r} does not fit the option {info.flag} of {pass_name}",
            why=f"it takes {wanted}",
            hint=f"{info.help}",
            code="USAGE-BAD-VALUE",
        )
    return parsed


def _allowed(value: Any, choices: tuple[str, ...]) -> bool:
    return all(str(v) in choices for v in (value if isinstance(value, tuple) else (value,)))


def type_text(hint: Any) -> str:
    """A type as a user reads it, e.g. ``a number``."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "none"}
    if typing.get_origin(hint) is tuple:
        return "a list of texts"
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(type_text(t) for t in typing.get_args(hint) if t is not type(None))
    return names.get(hint, str(hint))


_NO_FIT = object()


def _convert(hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        tried = (_convert(t, value) for t in sorted(typing.get_args(hint), key=_narrowness))
        return next((t for t in tried if t is not _NO_FIT), _NO_FIT)
    if origin is tuple:
        return _to_tuple(value)
    return _to_scalar(hint, value)


def _narrowness(hint: Any) -> int:
    order = [type(None), bool, int, float, str]
    return order.index(hint) if hint in order else len(order)


def _to_tuple(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(str(part) for part in value) if isinstance(value, (list, tuple)) else _NO_FIT


def _to_scalar(hint: Any, value: Any) -> Any:
    if hint is type(None):
        return None if value is None or value == "none" else _NO_FIT
    if hint is bool:
        return {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower(), _NO_FIT)
    if hint is str:
        return os.fspath(value) if isinstance(value, str | os.PathLike) else _NO_FIT
    if isinstance(value, bool) or value is None or (hint is int and isinstance(value, float) and value % 1):
        return _NO_FIT
    try:
        return hint(value)
    except (TypeError, ValueError):
        return _NO_FIT
