"""Where a command writes, and that it may: refused before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnxcompress.cli.options import OutputFlags
from onnxcompress.errors import UsageError


def check_outputs(source: Path, flags: OutputFlags, suffix: str, targets: Sequence[str]) -> list[Path]:
    """The files to write, one a target, refused before any work where they could not be written.

    Raises:
        UsageError: Where one is the input, or exists and --force is not given, or the folder is a file.
        ResourceError: Where a folder does not exist or cannot be written.
    """
    if len(targets) < 2:
        return [check_output(source, flags, suffix)]
    from onnxcompress.report.files import check_report_path, check_writable
    from onnxcompress.several import file_paths

    folder = flags.output or source.parent
    paths = file_paths(folder, source.stem, targets)
    if folder.is_dir():
        for path in paths:
            check_writable(path, force=flags.force)
    else:
        check_writable(folder, force=False)
    for name in targets if flags.report is not None else ():
        check_report_path(report_path(flags.report, name) or "", force=flags.force)
    return paths


def report_path(path: Path | None, target: str) -> Path | None:
    """The report's file; of several targets, each has one of its own: ``report.tensorrt.html``."""
    return path if path is None or not target else path.with_name(f"{path.stem}.{target}{path.suffix}")


def check_output(source: Path, flags: OutputFlags, suffix: str) -> Path:
    """The file to write, refused before any work where it could not be written.

    Raises:
        UsageError: Where it is the input, or exists and --force is not given.
        ResourceError: Where its folder does not exist or cannot be written.
    """
    from onnxcompress.report.files import check_report_path, check_writable

    target = flags.output or source.with_name(f"{source.stem}.{suffix}.onnx")
    if target.exists() and target.samefile(source):
        raise UsageError(
            f"the output {target} is the input",
            why="the input is never overwritten",
            hint="Give another file with -o.",
            code="USAGE-OUTPUT-IS-INPUT",
        )
    check_writable(target, force=flags.force)
    if flags.report is not None:
        check_report_path(flags.report, force=flags.force)
    return target
