"""How ONNX Runtime is to be used, as data; apart from `runtime`, so that passes can name it without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnxcompress.errors import UsageError


@dataclass(frozen=True)
class RuntimeOptions:
    """Settings of every session.

    Attributes:
        providers: Execution providers in order of preference.
        threads: Threads of one session, or, where results decide bytes, sessions' runs side by side, each of one
            thread (`onnxcompress.runtime.parallel`); 0 lets ONNX Runtime choose, or takes every processor.
        custom_ops: Shared libraries with custom operators, registered in every session.
    """

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 0
    custom_ops: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a number of threads that ONNX Runtime would silently read as another.

        Raises:
            UsageError: Where `threads` is negative.
        """
        if self.threads < 0:
            hint = "Give 1 or more, or 0 to let ONNX Runtime choose."
            raise UsageError(f"--threads {self.threads} is no number of threads", hint=hint, code="USAGE-BAD-VALUE")
