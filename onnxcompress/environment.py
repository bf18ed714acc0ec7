"""Versions, settings and the kind of processor that a figure depends on; never paths, host names or times."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxcompress.runtime_options import RuntimeOptions

_INTEGER_EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
_PACKAGES = ("onnxcompress", "onnx", "onnx-ir", "onnxruntime", "numpy", "torch")
_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def cache_folder() -> Path:
    """The user's folder for what can be computed again: ``ONNXCOMPRESS_CACHE``, else the platform's."""
    named = os.environ.get("ONNXCOMPRESS_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "onnxcompress/cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/onnxcompress"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onnxcompress"


def environment(options: RuntimeOptions) -> dict[str, Any]:
    """Versions of the packages in use, the Python, the kind of processor, providers and threads."""
    versions = {name: version for name in _PACKAGES if (version := _version(name))}
    return {
        **versions,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "providers": list(options.providers),
        "threads": options.threads,
    }


def place_among_processes() -> tuple[int, int]:
    """(rank, count) as torchrun and its like tell them; (0, 1) where this process runs alone."""
    if any(name not in os.environ for name in _LAUNCHED):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def integer_extensions() -> tuple[str, ...] | None:
    """Extensions of this processor that make int8 fast; None where the system does not tell (all but Linux)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    flags = {
        word for line in text.splitlines() if line.lower().startswith(("flags", "features")) for word in line.split()
    }
    return tuple(name for name in _INTEGER_EXTENSIONS if name in flags)


def processor_features() -> tuple[str, ...]:
    """The kind of processor in lower case (``x86_64``, ``arm64``) and its integer extensions where they are known."""
    return (platform.machine().lower(), *(integer_extensions() or ()))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
