"""Writing a report to a file, and refusing early what could not be written later."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from onnxcompress.errors import ResourceError, UsageError
from onnxcompress.model_io.atomic import check_target, exists_error, write_text_atomic

if TYPE_CHECKING:
    from onnxcompress.report.records import Report

SUFFIXES = (".html", ".htm", ".json")


def write_report(report: Report, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write `report` as a page (``.html``) or as JSON (``.json``), whole or not at all.

    Args:
        report: What to write.
        path: Target file; its suffix chooses the form.
        force: Replace an existing file.

    Returns:
        The absolute path written.

    Raises:
        UsageError: For another suffix, or where the file exists and `force` is not set.
        ResourceError: Where the folder cannot be written or is full.
    """
    target = check_report_path(path, force=force)
    if target.suffix.lower() == ".json":
        return write_text_atomic(target, report.to_json() + "\n", force=force)
    from onnxcompress.report.html import to_html

    return write_text_atomic(target, to_html(report), force=force)


def check_report_path(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """The absolute path, where a report can be written.

    Raises:
        UsageError: For a suffix that is no report's, or where the file exists and `force` is not set.
        ResourceError: Where its folder is missing or cannot be written.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"cannot write the report {path}",
            why="its suffix says neither HTML nor JSON",
            hint="Name it FILE.html or FILE.json.",
            code="USAGE-REPORT-SUFFIX",
        )
    target = Path(os.path.abspath(path))  # noqa: PTH100 - as check_target
    if target.is_file() and not force:
        raise exists_error(target, "--report")
    return check_writable(path, force=force)


def check_writable(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """The absolute path of a file that can be written; asked before the work, so that no work is lost.

    Raises:
        UsageError: Where it exists and `force` is not set, or is no regular file.
        ResourceError: Where its folder is missing or cannot be written.
    """
    target = check_target(path, force=force)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise ResourceError(
            f"cannot write {path}",
            where=f"folder {target.parent}",
            why="it may not be written",
            hint="Check its permissions, or choose another one with -o.",
            code="RESOURCE-FOLDER",
        )
    return target
