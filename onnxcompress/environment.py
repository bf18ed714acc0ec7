"""Versions and settings that a figure depends on; never paths, host names or times."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxcompress.runtime_options import RuntimeOptions

_PACKAGES = ("onnxcompress", "onnx", "onnx-ir", "onnxruntime", "numpy", "torch")


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


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
