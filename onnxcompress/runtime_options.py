"""How ONNX Runtime is to be used, as data; apart from `runtime`, so that passes can name it without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RuntimeOptions:
    """Settings of every session.

    Attributes:
        providers: Execution providers in order of preference.
        threads: Intra-op threads; 0 lets ONNX Runtime choose.
        custom_ops: Shared libraries with custom operators, registered in every session.
    """

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 0
    custom_ops: tuple[Path, ...] = ()
