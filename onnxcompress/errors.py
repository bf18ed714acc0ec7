"""Errors that a user can act on: what failed, where, why, and what to do.

Each class has one exit code, so that a script can tell a bad model from bad data without reading text.
"""

from __future__ import annotations

from typing import ClassVar


class CompressError(Exception):
    """An error that onnxcompress raises on purpose; never shown with a traceback.

    Args:
        what: One clause that says what could not be done, e.g. ``cannot load model.onnx``.
        where: The node, tensor, file or option concerned. Empty where `what` already names it.
        why: The cause, as a clause.
        hint: What the user can do about it, as a sentence in the imperative.
        code: A stable reason code such as ``MODEL-TRUNCATED``, for scripts and tests.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.hint, self.code = what, where, why, hint, code

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        reason = f": {self.why}" if self.why else ""
        advice = f" {self.hint}" if self.hint else ""
        return f"{self.what}{place}{reason}.{advice}"


class InternalError(CompressError):
    """A bug of ours: an invariant broke. Exit code 1."""

    exit_code = 1


class UsageError(CompressError):
    """The command or the call is wrong: an unknown option, a pattern without a match. Exit code 2."""

    exit_code = 2


class ModelError(CompressError):
    """The model is missing, damaged, hostile or not supported. Exit code 3."""

    exit_code = 3


class DataError(CompressError):
    """The data is missing, damaged or does not fit the model. Exit code 4."""

    exit_code = 4


class GateError(CompressError):
    """A quality gate failed or nothing changed; nothing was written. Exit code 5."""

    exit_code = 5


class ResourceError(CompressError):
    """Disk, memory or a permission was not enough. Exit code 6."""

    exit_code = 6
