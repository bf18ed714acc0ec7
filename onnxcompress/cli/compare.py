"""``onnxcompress compare``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from onnxcompress.cli.build import build
from onnxcompress.cli.console import Terminal, write_result
from onnxcompress.cli.options import DataFlags, Group, LogFlags, RuntimeFlags, flag
from onnxcompress.errors import UsageError

if TYPE_CHECKING:
    from onnxcompress.report import Report

First = Annotated[Path, typer.Argument(metavar="A", help="The reference, usually the original.", show_default=False)]
Second = Annotated[Path, typer.Argument(metavar="B", help="The model to be judged.", show_default=False)]


@dataclass(frozen=True)
class CompareFlags(Group):
    """What is compared and how it is told."""

    panel: ClassVar[str] = "Output"
    metric: str | None = flag(
        None,
        "Your own measure f(outputs, labels) -> float or a dict of them, higher is better.",
        metavar="FILE.py:FUNCTION",
    )
    latency: bool = flag(False, "Measure the time of a run of both.", "--latency")
    json: bool = flag(False, "Print the report as JSON.", "--json")
    report: Path | None = flag(None, "Also write the report: FILE.html or FILE.json.", metavar="FILE")
    force: bool = flag(False, "Replace the report where it exists.", "--force")


def compare(
    first: First,
    second: Second,
    options: CompareFlags,
    data: DataFlags,
    runtime: RuntimeFlags,
    log: LogFlags,
) -> None:
    """Put two models side by side: costs, and with --data how far their outputs are apart.

    With labels in the data the accuracy of both is measured too. All samples count; none are held out.
    """
    from onnxcompress.model_io.precheck import precheck
    from onnxcompress.report.files import check_report_path, write_report

    if data.eval_data is not None:
        hint = "Give those samples as --data."
        raise UsageError("compare does not use --eval-data", why="all samples of --data count", hint=hint)
    paths = precheck(first), precheck(second)
    if options.report is not None:
        check_report_path(options.report, force=options.force)
    with Terminal(log) as terminal:
        report = _compare(paths, options, data, runtime, terminal)
        if options.report is not None:
            write_report(report, options.report, force=options.force)
    if options.json:
        write_result(report.to_json())
    else:
        from onnxcompress.report.table import to_text

        write_result(to_text(report))


def _compare(
    paths: tuple[Path, Path], options: CompareFlags, data: DataFlags, runtime: RuntimeFlags, terminal: Terminal
) -> Report:
    from onnxcompress.comparing import compare as compare_models
    from onnxcompress.data import load_metric

    return compare_models(
        *paths,
        data=data.options(),
        metric=None if options.metric is None else load_metric(options.metric),
        shapes=runtime.shapes(),
        runtime=runtime.options(),
        latency=options.latency,
        progress=terminal.progress,
    )


def command() -> Any:
    """The command, ready to be run."""
    return build(compare, name="compare")
