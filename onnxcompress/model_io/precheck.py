"""Refuse what is not a model file in milliseconds, before any heavy import."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from onnxcompress.errors import ModelError, ResourceError
from onnxcompress.model_io.limits import Limits
from onnxcompress.model_io.sniff import conversion_hint, sniff
from onnxcompress.model_io.wire import Wire, read_outline


def precheck(path: str | os.PathLike[str], limits: Limits | None = None) -> Path:
    """The absolute path of a file that looks like an ONNX model.

    Only the standard library is used; a command line calls this first to fail fast.

    Args:
        path: Any path; a relative one is taken from the current folder.
        limits: Caps; the defaults where None.

    Returns:
        The absolute path, links not resolved (external data is found beside the name that was given).

    Raises:
        ModelError: Where the file is missing, empty, no regular file, truncated or something else than ONNX.
        ResourceError: Where the file may not be read.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() would keep ".." in it
    what = f"cannot load {path}"
    status = _status(absolute, what)
    _check_kind(status, absolute, what)
    _check_size(status.st_size, what, limits or Limits())
    try:
        _check_content(absolute, what)
    except PermissionError as error:
        raise _denied(what, absolute, error) from error
    return absolute


def _status(path: Path, what: str) -> os.stat_result:
    try:
        return path.stat()
    except PermissionError as error:
        raise _denied(what, path, error) from error
    except (OSError, ValueError) as error:
        code, why = "MODEL-NOT-FOUND", f"there is no file {path}"
        if path.is_symlink():
            code, why = "MODEL-BROKEN-LINK", f"{path} is a link to {path.readlink()}, which is not there"
        raise ModelError(what, why=why, hint=_nearby(path), code=code) from error


def _denied(what: str, path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        what,
        where=str(path),
        why=f"the system does not let us read it ({error.strerror})",
        hint="Check the permissions of the file and of its folder.",
        code="MODEL-NOT-READABLE",
    )


def _nearby(path: Path) -> str:
    """A hint that names the models that lie where the missing one was looked for."""
    folder = path.parent
    if not folder.is_dir():
        return f"Check the path: the folder {folder} is not there either."
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".onnx"))[:3]
    except OSError:
        names = []
    return f"Check the path; that folder holds {', '.join(names)}." if names else "Check the path."


def _check_kind(status: os.stat_result, path: Path, what: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise ModelError(what, why="it is a folder", hint=_models_inside(path), code="MODEL-IS-FOLDER")
    raise ModelError(
        what,
        why="it is a device, pipe or socket",
        hint="Give a regular file; write what comes from a pipe to a file first.",
        code="MODEL-NOT-A-FILE",
    )


def _models_inside(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.glob("*.onnx"))[:3]
    return f"Give a file inside it, e.g. {folder / names[0]}." if names else "Give the path of the .onnx file."


def _check_size(size: int, what: str, limits: Limits) -> None:
    if size == 0:
        raise ModelError(
            what, why="the file is empty (0 bytes)", hint="Copy or export the model again.", code="MODEL-EMPTY"
        )
    if size > limits.max_proto_bytes:
        raise ModelError(
            what,
            why=f"the file has {size:,} bytes, more than the {limits.max_proto_bytes:,} allowed",
            hint="Save the model with its weights as external data (onnx.save(..., save_as_external_data=True)).",
            code="MODEL-TOO-LARGE",
        )


def _check_content(path: Path, what: str) -> None:
    kind = sniff(path)
    if kind:
        raise ModelError(
            what,
            why=f"it is no ONNX model but seems to be {kind}",
            hint=conversion_hint(kind),
            code="MODEL-NOT-ONNX",
        )
    outline = read_outline(path)
    if outline is Wire.TRUNCATED:
        raise ModelError(
            what,
            why=f"the file ends in the middle of a field, after {path.stat().st_size:,} bytes: it is truncated",
            hint="Copy, download or export the model again.",
            code="MODEL-TRUNCATED",
        )
    if outline is not Wire.MODEL:
        why = "it has no graph" if outline is Wire.NO_GRAPH else "its bytes are not those of an ONNX model"
        raise ModelError(what, why=why, hint="Give an ONNX model in binary form (.onnx).", code="MODEL-NOT-ONNX")
