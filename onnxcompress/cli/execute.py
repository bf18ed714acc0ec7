"""What every compressing command does: cheap checks, the recipe, the run, the report, the file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxcompress.cli import ranks
from onnxcompress.cli.calibration import CalibrationFlags
from onnxcompress.cli.console import Terminal, write_result
from onnxcompress.cli.options import (
    DataFlags,
    LogFlags,
    MachineFlags,
    OutputFlags,
    QualityFlags,
    ScopeFlags,
)
from onnxcompress.cli.outputs import check_outputs, report_path
from onnxcompress.errors import CompressError, GateError, UsageError

if TYPE_CHECKING:
    from onnxcompress.recipe import Recipe
    from onnxcompress.report import PassRecord, Report
    from onnxcompress.result import Result
    from onnxcompress.several import Results


@dataclass(frozen=True)
class Flags:
    """The groups that every compressing command takes."""

    output: OutputFlags
    data: DataFlags
    quality: QualityFlags
    runtime: MachineFlags
    scope: ScopeFlags
    log: LogFlags
    calibration: CalibrationFlags = field(default_factory=CalibrationFlags)

    def settings(self) -> dict[str, Any]:
        """Those settings of a recipe that were given as flags."""
        given = {
            "target": self.runtime.target[0] if len(self.runtime.target) == 1 else list(self.runtime.target) or None,
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
    several: bool = False,
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
        several: Whether more than one target may be named.
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
    targets = _targets(recipe, several)
    if not ranks.is_first():
        _take_part(model, recipe, flags, teacher, targets)
        return
    paths = check_outputs(source, flags.output, suffix, targets)
    with Terminal(flags.log) as terminal:
        warnings = _warnings(recipe, flags.data, without_data)
        results = _run(model, recipe, flags, teacher, terminal, warnings, targets)
        written = _save(results, paths, flags.output)
        for (name, result), path in zip(results.items(), written, strict=True):
            if finish is not None:
                finish(result)
            report = report_path(flags.output.report, name if len(results) > 1 else "")
            _write_report(result.report, report, flags.output.force, path)
            if len(results) > 1:
                terminal.say(f"target {name}")
            _tell(result.report, terminal, verbose=flags.log.verbose > 0)
            if result.recipe.settings.get("target") == "tensorrt":
                terminal.say(_trtexec(path, result, flags.runtime))
    payloads = [{"output": str(p), **r.report.to_dict()} for p, r in zip(written, results.values(), strict=True)]
    shown = json.dumps(payloads if len(results) > 1 else payloads[0], indent=2, ensure_ascii=False)
    write_result(shown if flags.output.json else "\n".join(map(str, written)))


def _take_part(model: Path, recipe: Recipe, flags: Flags, teacher: Path | None, targets: list[str]) -> None:
    """Work beside the first process, which alone looks at the output's place, judges the result and writes."""
    with Terminal(flags.log) as terminal, contextlib.suppress(GateError):
        _run(model, recipe, flags, teacher, terminal, [], targets)


def _targets(recipe: Recipe, several: bool) -> list[str]:
    """The targets asked for; empty where none was named.

    Raises:
        UsageError: Where they are more than one and the command makes one file, or one is given twice.
    """
    asked = recipe.settings.get("target", [])
    names = [asked] if isinstance(asked, str) else list(asked)
    if len(names) > 1 and not several:
        hint = "Give one --target; `quantize` and `run` take several."
        raise UsageError(
            "this command writes one file", why="--target was given more than once", hint=hint, code="USAGE-TARGETS"
        )
    if len(names) > 1:
        from onnxcompress.several import check_names

        check_names(names)
    return names


def _save(results: Results, paths: list[Path], flags: OutputFlags) -> list[Path]:
    if len(paths) == 1:
        return [r.save(paths[0], force=flags.force, stamp=not flags.no_stamp) for r in results.values()]
    name = next(iter(results))
    stem = paths[0].name.removesuffix(f".{name}.onnx")
    return results.save(paths[0].parent, stem=stem, force=flags.force, stamp=not flags.no_stamp)


def _warnings(recipe: Recipe, data: DataFlags, without_data: str) -> list[str]:
    """What will not be known after the run, to be said before its first pass."""
    lossy = any(p.effect == "lossy" for p in recipe.passes)
    if not lossy or data.data is not None or data.eval_data is not None:
        return []
    warning = "warning: accuracy will NOT be measured: give --data to measure it and to repair what is lost"
    return [warning, without_data] if without_data else [warning]


def _run(
    source: Path,
    recipe: Recipe,
    flags: Flags,
    teacher: Path | None,
    terminal: Terminal,
    warnings: list[str],
    targets: list[str],
) -> Results:
    from onnxcompress.api import run_recipe
    from onnxcompress.executors import open_executor
    from onnxcompress.several import Results, run_recipe_for

    records: list[PassRecord] = []

    def progress(step: str, done: int, total: int) -> None:
        while warnings:
            terminal.say(warnings.pop(0))
        terminal.progress(step, done, total)

    def on_record(record: PassRecord) -> None:
        records.append(record)
        terminal.say(_line(record))

    given = {
        "data": flags.data.options(),
        "teacher": teacher,
        "shapes": flags.runtime.shapes(),
        "runtime": flags.runtime.options(),
        "memory_bytes": flags.runtime.memory_bytes(),
        "cache": flags.calibration.folder(),
        "strict": flags.calibration.strict,
        "metric": _metric(flags.quality.metric),
        "latency": flags.quality.latency,
        "progress": progress,
        "on_record": on_record,
        **flags.settings(),
    }
    try:
        with open_executor(flags.calibration.executor, flags.calibration.workers) as given["executor"]:
            if len(targets) > 1:
                return run_recipe_for(targets, recipe, source, **{k: v for k, v in given.items() if k != "target"})
            return Results({"": run_recipe(recipe, source, **given)})
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


def _write_report(report: Report, path: Path | None, force: bool, written: Path) -> None:
    if path is None:
        return
    from onnxcompress.report.files import write_report

    try:
        write_report(report, path, force=force)
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
