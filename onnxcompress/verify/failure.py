"""The error of a check that a pass's result did not meet."""

from __future__ import annotations

from onnxcompress.errors import InternalError


class VerifyFailure(InternalError):  # noqa: N818 - the error is the pass's; this is what the check reports
    """A pass made a model that is invalid, has another interface, or computes other numbers. Nothing is written."""
