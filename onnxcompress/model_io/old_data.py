"""Which weights files beside a model are ours, and which of them no model needs any more."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from onnxcompress.model_io.atomic import sync_folder

# Every writer of protobuf puts the field ir_version, tag 0x08, first.
_FIRST_BYTE = b"\x08"


def own_data_files(target: Path, *, orphans: bool) -> list[Path]:
    """Weights files that `save` wrote for a model at `target` earlier.

    Args:
        target: The .onnx file.
        orphans: Also those that no model names: what a save left that was killed between its two moves. Only safe
            under the folder's lock, where no other save can stand between its own two.
    """
    ours = re.compile(re.escape(target.stem) + r"\.(?:[0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{64})\.data")
    with os.scandir(target.parent) as entries:
        names = sorted(entry.name for entry in entries if ours.fullmatch(entry.name))
    paths = [target.with_name(name) for name in names]
    return [path for path in paths if orphans or (target.is_file() and mentions(target, path.name))]


def remove_unreferenced(paths: list[Path], folder: Path) -> None:
    """Delete weights that no model in the folder names any more, whatever that model's file is called."""
    if not paths:
        return
    models = [path for path in sorted(folder.iterdir()) if path.is_file() and _looks_like_model(path)]
    for path in paths:
        if not any(mentions(model, path.name) for model in models):
            try:
                path.unlink()
            except OSError:  # Windows keeps a file that is mapped; it stays behind, whole and unused
                continue
    sync_folder(folder)


def _looks_like_model(path: Path) -> bool:
    if path.suffix == ".onnx":
        return True
    try:
        with path.open("rb") as file:
            return file.read(1) == _FIRST_BYTE
    except OSError:
        return True  # not readable: `mentions` then assumes the worst


def mentions(model: Path, name: str) -> bool:
    """True where the file's bytes hold that name, or cannot be read."""
    try:
        with model.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(name.encode()) >= 0
    except OSError:
        return True
