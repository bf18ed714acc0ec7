"""Reads ``targets/<name>.toml``: a profile, one that extends another, or a choice of profiles by processor."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from typing import Any

from onnxcompress.environment import processor_features
from onnxcompress.errors import UsageError
from onnxcompress.targets.target import Target

_FIELDS = {f.name for f in fields(Target)} - {"options"}


def target_names() -> list[str]:
    """Names of all targets, sorted."""
    folder = resources.files("onnxcompress.targets")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_target(name: str) -> Target:
    """The target called `name`; of one that depends on the processor, the profile for this machine under that name.

    Raises:
        UsageError: Where there is none of that name.
    """
    if name not in target_names():
        raise _unknown(name)
    raw = _read(name)
    machine = raw.pop("machine", None)
    if machine is not None:
        profile = profile_for(machine, processor_features())
        raw = {**_read(profile), **raw, "profile": profile}
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in _FIELDS}
    given |= {"name": name, "options": {k: v for k, v in raw.items() if k not in _FIELDS}}
    return Target(**given)


def profile_for(machine: Mapping[str, str], features: tuple[str, ...]) -> str:
    """The profile for a processor: that of the first line of `machine` whose feature it has, else that of ``any``.

    The profile under ``any`` must be right on every machine: it also stands for processors that do not tell.
    """
    return next((profile for feature, profile in machine.items() if feature in features), machine["any"])


def _read(name: str) -> dict[str, Any]:
    """The file's facts over those of the profile that it extends."""
    raw = tomllib.loads((resources.files("onnxcompress.targets") / f"{name}.toml").read_text(encoding="utf-8"))
    base = raw.pop("base", None)
    return raw if base is None else {**_read(base), **raw}


def _unknown(name: str) -> UsageError:
    known = target_names()
    near = difflib.get_close_matches(name.lower(), known, 2, 0.5) or [n for n in known if name.lower() in n.split("-")]
    return UsageError(
        f"unknown target {name!r}",
        why=f"the nearest is {' or '.join(near)}" if near else "",
        hint=f"Use one of: {', '.join(known)}.",
        code="USAGE-UNKNOWN-TARGET",
    )
