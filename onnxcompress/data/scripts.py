"""`file.py:function`: a user's own Python, for data that no format covers and for `metrics`. It runs that code."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnxcompress.errors import DataError, UsageError

_log = logging.getLogger(__name__)
_LONGEST = 300  # characters of a user's error message; --debug shows the whole


def is_script(spec: str) -> bool:
    """True for ``path/to/file.py:function``."""
    file, _, function = spec.rpartition(":")
    return file.endswith(".py") and function.isidentifier()


def load_function(spec: str) -> Callable[..., Any]:
    """The function that ``file.py:function`` names. Loading it runs the file.

    Raises:
        UsageError: Where there is no such file or function, or the file fails when it is loaded.
    """
    if not is_script(spec):
        raise UsageError(f"{spec!r} does not name a function", hint="Write file.py:function.", code="USAGE-SCRIPT")
    file, _, name = spec.rpartition(":")
    path = Path(file).absolute()
    if not path.is_file():
        raise UsageError(f"there is no file {file}", where=spec, hint="Check the path.", code="USAGE-SCRIPT")
    function = getattr(run_file(path), name, None)
    if not callable(function):
        raise UsageError(
            f"{path.name} has no function {name!r}", hint=f"Define `def {name}(...)` there.", code="USAGE-SCRIPT"
        )
    return function


def call_script(spec: str) -> object:
    """What the function returns, called without arguments.

    Raises:
        DataError: Where it raises, ends the program, or returns nothing.
    """
    function = load_function(spec)
    try:
        result = function()
    except (Exception, SystemExit) as error:
        raise DataError(
            "the data function failed",
            where=spec,
            why=told(error),
            hint="It is called without arguments; --debug shows the traceback.",
            code="DATA-SCRIPT",
        ) from error
    if result is None:
        hint = "Return a dict of arrays, an iterable of dicts, a DataLoader or a DataSource."
        raise DataError("the data function returned None", where=spec, hint=hint, code="DATA-SCRIPT")
    return result


def told(error: BaseException) -> str:
    """An exception of a user's code in one line of bounded length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text.removesuffix(":") if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def run_file(path: Path) -> object:
    """The module that a file makes; this runs its code.

    Raises:
        UsageError: Where it fails.
    """
    _log.warning("running the code of %s", path.name)
    name = f"onnxcompress_script_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"cannot load {path.name}", why="Python has no loader for it", code="USAGE-SCRIPT")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up by name
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(
            f"{path.name} fails when it is loaded",
            why=told(error),
            hint="Run it with python to see the traceback.",
            code="USAGE-SCRIPT",
        ) from error
    return module
