"""``onnxcompress doctor``: what a bug report needs, and what a run may lack here."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib import metadata, util
from pathlib import Path
from typing import Any

from onnxcompress.cli.build import build
from onnxcompress.cli.console import write_result
from onnxcompress.cli.options import JsonFlag, LogFlags
from onnxcompress.environment import integer_extensions

_PACKAGES = (
    "onnxcompress",
    "onnx",
    "onnx-ir",
    "onnx-graphsurgeon",
    "onnxruntime",
    "numpy",
    "ml-dtypes",
    "torch",
    "typer",
    "rich",
    "jinja2",
    "pillow",
    "safetensors",
)


def doctor(output: JsonFlag, log: LogFlags) -> None:
    """Show versions, execution providers, processor, memory and disk: what a bug report needs."""
    facts = _facts()
    if output.json:
        write_result(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    width = max(map(len, facts))
    write_result("\n".join(f"{key:<{width}}  {_text(value)}" for key, value in facts.items()))


def _facts() -> dict[str, Any]:
    from onnxcompress.registry import pass_names
    from onnxcompress.targets import load_target, target_names

    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **versions,
        "execution providers": _providers(),
        "processor threads": _threads(),
        "integer extensions": _extensions(),
        "memory": _memory(),
        "free disk here": _bytes(shutil.disk_usage(Path.cwd()).free),
        "cache": "none: nothing is kept between runs",
        "distill": "ready" if util.find_spec("torch") else 'needs PyTorch: pip install "onnxcompress[distill]"',
        "passes": pass_names(),
        "targets": target_names(),
        "ort-cpu here": load_target("ort-cpu").profile,
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _providers() -> list[str]:
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def _threads() -> int:
    """Threads that this process may use, which in a container are fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _extensions() -> list[str] | str:
    found = integer_extensions()
    if found is None:
        return "unknown on this system"
    return list(found) or "none: int8 may not be faster than float here"


def _memory() -> str:
    if not hasattr(os, "sysconf"):
        return "unknown on this system"
    return _bytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _bytes(value: int) -> str:
    from onnxcompress.report.units import cost

    return cost("bytes", value)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def command() -> Any:
    """The command, ready to be run."""
    return build(doctor, name="doctor")
