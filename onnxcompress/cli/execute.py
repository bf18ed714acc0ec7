"""What every compressing command does: cheap checks, the recipe, the run, the report, the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxcompress.cli.console import Terminal, write_result
from onnxcompress.cli.options import DataFlags, LogFlags, MachineFlags, OutputFlags, QualityFlags, ScopeFlags
from onnxcompress.errors import CompressError, UsageError

if TYPE_CHECKING:
    from onnxcompress.recipe import Recipe
    from onnxcompress.report import PassRecord, Report
    from onnxcompress.result import Result


@dataclass(frozen=True)
class Flags:
    """The groups that every compressing command takes."""

    output: OutputFlags
    data: DataFlags
    quality: QualityFlags
    runtime: MachineFlags
    scope: ScopeFlags
    log: LogFlags

    def settings(self) -> dict[str, Any]:
        """Those settings of a recipe that were given as flags."""
        given = {
            "target": self.runtime.target,
            "seed": self.runtime.seed,
            "max_drop": self.quality.max_drop,
            "min_sqnr": self.quality.min_sqnr,
            "verify": self.quality.verify,
            "allow_unchanged": self.output.allow_unchanged or None,
            "only": list(self.scope.only) or None,
            "exclude": list(self.scope.exclude) or None,
        }
        return {key: value for key, value in given.items() if value is not None}


def execute(
    model: Path,
    make_recipe: Callable[[dict[str, Any]], Recipe],
    flags: Flags,
    *,
    suffix: str,
    teacher: Path | None = None,
    without_data: str = "",
    finish: Callable[[Result], None] | None = None,
) -> None:
    """Compress `model` and write the result.

    Args:
        model: File to read.
        make_recipe: Gives the recipe for the settings on the command line.
        flags: The shared flags.
        suffix: What the default output's name gets, e.g. ``pruned``.
        teacher: Model to imitate.
        without_data: What to say first where no data is given.
        finish: Called with the result once the model is written.
    """
    from onnxcompress.model_io.precheck import precheck

    source = precheck(model)
    teacher = None if teacher is None else precheck(teacher)
    recipe = make_recipe(flags.settings())
    if flags.output.dry_run:
        from onnxcompress.recipe import dump_recipe

        write_result(dump_recipe(recipe))
        return
    target = check_output(source, flags.output, suffix)
    with Terminal(flags.log) as terminal:
        warnings = _warnings(recipe, flags.data, without_data)
        result = _run(model, recipe, flags, teacher, terminal, warnings)
        written = result.save(target, force=flags.output.force, stamp=not flags.output.no_stamp)
        if finish is not None:
            finish(result)
        _write_report(result.report, flags.output, written)
        _tell(result.report, terminal, verbose=flags.log.verbose > 0)
        if result.recipe.settings.get("target") == "tensorrt":
            terminal.say(_trtexec(written, result, flags.runtime))
    payload = {"output": str(written), **result.report.to_dict()}
    write_result(json.dumps(payload, indent=2, ensure_ascii=False) if flags.output.json else str(written))


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


def _warnings(recipe: Recipe, data: DataFlags, without_data: str) -> list[str]:
    """What will not be known after the run, to be said before its first pass."""
    lossy = any(p.effect == "lossy" for p in recipe.passes)
    if not lossy or data.data is not None or data.eval_data is not None:
        return []
    warning = "warning: accuracy will NOT be measured: give --data to measure it and to repair what is lost"
    return [warning, without_data] if without_data else [warning]


def _run(
    source: Path, recipe: Recipe, flags: Flags, teacher: Path | None, terminal: Terminal, warnings: list[str]
) -> Result:
    from onnxcompress.api import run_recipe

    records: list[PassRecord] = []

    def progress(step: str, done: int, total: int) -> None:
        while warnings:
            terminal.say(warnings.pop(0))
        terminal.progress(step, done, total)

    def on_record(record: PassRecord) -> None:
        records.append(record)
        terminal.say(_line(record))

    try:
        return run_recipe(
            recipe,
            source,
            data=flags.data.options(),
            teacher=teacher,
            shapes=flags.runtime.shapes(),
            runtime=flags.runtime.options(),
            memory_bytes=flags.runtime.memory_bytes(),
            metric=_metric(flags.quality.metric),
            latency=flags.quality.latency,
            progress=progress,
            on_record=on_record,
            **flags.settings(),
        )
    except CompressError:
        if flags.log.verbose:
            _show_findings(records, terminal)
        raise


def _show_findings(records: list[PassRecord], terminal: Terminal) -> None:
    """What the passes reported before the run failed."""
    from onnxcompress.report.summary import group_findings
    from onnxcompress.report.table import findings_table

    terminal.stop_progress()
    terminal.draw(findings_table(group_findings([f for record in records for f in record.findings])))


def _write_report(report: Report, flags: OutputFlags, written: Path) -> None:
    if flags.report is None:
        return
    from onnxcompress.report.files import write_report

    try:
        write_report(report, flags.report, force=flags.force)
    except CompressError as error:
        error.add_note(f"the model itself was written to {written}")
        raise


def _metric(spec: str | None) -> Any:
    if spec is None:
        return None
    from onnxcompress.data import load_metric

    return load_metric(spec)


def _line(record: PassRecord) -> str:
    """One pass in one line, as soon as it is done."""
    from onnxcompress.report.summary import pass_line

    return f"{record.name}: {pass_line(record)} ({record.seconds:.1f} s)"


def _tell(report: Report, terminal: Terminal, *, verbose: bool) -> None:
    from onnxcompress.report.table import render

    terminal.stop_progress()
    terminal.draw(render(report, findings=verbose))


def _trtexec(written: Path, result: Result, runtime: MachineFlags) -> str:
    """The line that builds the engine; what it lacks, where it cannot be written."""
    from onnxcompress.interop.tensorrt import trtexec_command

    try:
        sparse = any(record.spec.get("weights") == "2:4" for record in result.report.passes)
        return "next: " + trtexec_command(written, result.model, runtime.shapes(), sparse=sparse)
    except UsageError as error:
        return f"note: {error}"
