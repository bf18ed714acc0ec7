"""The pass manager: passes in sequence, each group a transaction, and a report of what came of it.

A transaction is clone -> run -> verify -> commit or roll back. Consecutive EXACT passes share one (cloning a large
graph costs seconds) and are held to the model before them; a LOSSY pass has one of its own and is measured against
the original. An error anywhere leaves the caller's model as it was, and nothing is written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from onnxcompress import graph, model_io, verify
from onnxcompress.calibrators.store import Statistics
from onnxcompress.cost import costs
from onnxcompress.data import remarks
from onnxcompress.environment import environment
from onnxcompress.errors import CompressError, GateError, InternalError, UsageError
from onnxcompress.measurement import Metric, far_apart, foreign_teacher, hold, measure, measure_between, with_goal
from onnxcompress.order import check_order, transactions
from onnxcompress.passes.base import Context, Effect, Pass, Progress, Scope, silent
from onnxcompress.recipe import Recipe
from onnxcompress.report import PassRecord, Report
from onnxcompress.result import Result
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.settling import open_samples, settled_shapes
from onnxcompress.shapes import ShapeTable, infer
from onnxcompress.targets import Target, load_target

if TYPE_CHECKING:
    import onnx_ir as ir

logger = logging.getLogger(__name__)


class PassManager:
    """Runs passes in order.

    Args:
        passes: What to run.
        target: Name of a deployment target, or a Target.
        max_drop: Gate on quality, ``0.5pt`` (points of the metric) or ``1%`` (of the float score).
        min_sqnr: Gate on the signal-to-quantization-noise ratio of the outputs, in dB.
        verify: ``quick`` or ``full``.
        allow_unchanged: Accept a run that changes nothing.
        on_record: Called with each pass's record as soon as it is committed.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        *,
        target: str | Target = "ort-cpu",
        max_drop: str | None = None,
        min_sqnr: float | None = None,
        verify: str = "quick",
        allow_unchanged: bool = False,
        on_record: Callable[[PassRecord], None] | None = None,
    ) -> None:
        self.passes = tuple(passes)
        self.target = target if isinstance(target, Target) else load_target(target)
        self.max_drop, self.min_sqnr, self.verify = max_drop, min_sqnr, verify
        self.allow_unchanged, self.on_record = allow_unchanged, on_record
        check_order(self.passes)

    @property
    def profile(self) -> str:
        """The processor's profile, where the target is chosen by processor and what the passes write depends on it."""
        return self.target.profile if any(p.by_profile for p in self.passes) else ""

    def recipe(self, seed: int = 0, scope: Scope | None = None) -> Recipe:
        """This manager's passes and settings as a recipe."""
        scope = scope or Scope()
        settings: dict[str, Any] = {"target": self.profile or self.target.name, "seed": seed, "verify": self.verify}
        settings |= {"max_drop": self.max_drop} if self.max_drop else {}
        settings |= {"min_sqnr": self.min_sqnr} if self.min_sqnr is not None else {}
        settings |= {"only": list(scope.only)} if scope.only else {}
        settings |= {"exclude": list(scope.exclude)} if scope.exclude else {}
        return Recipe(self.passes, settings)

    def run(
        self,
        model: Any,
        *,
        data: Any = None,
        eval_data: Any = None,
        teacher: Any = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        scope: Scope | None = None,
        runtime: RuntimeOptions | None = None,
        seed: int = 0,
        metric: Metric | None = None,
        executor: Executor | None = None,
        memory_bytes: int = 1 << 30,
        also: Sequence[Target] = (),
        statistics: Statistics | None = None,
        strict: bool = False,
        progress: Progress = silent,
    ) -> Result:
        """Compress `model`.

        Args:
            model: A path, an onnx.ModelProto or an onnx_ir.Model; it is not edited.
            data: Calibration samples: anything that `onnxcompress.data.open_data` takes, or None.
            eval_data: Samples that only measure; without it a fifth of `data` is held out.
            teacher: The model to imitate (path, proto or ir.Model); the input itself by default.
            shapes: Sizes of dynamic inputs, by input name.
            scope: Nodes that passes may or may not touch.
            runtime: Providers, threads, custom operators.
            seed: Seed of every random draw.
            metric: ``f(outputs, labels) -> float``, higher is better; accuracy or agreement by default.
            executor: Runs independent shards.
            memory_bytes: Ceiling for one layer's statistics and factors.
            also: Other targets that the same samples will be used for.
            statistics: Histograms that runs on the same model and samples share.
            strict: Refuse NaN and infinity inside the model, where they would only be told.
            progress: Told how far long steps are.

        Returns:
            The compressed model and its report.

        Raises:
            CompressError: A subclass, by cause; nothing has been written then.
        """
        if seed < 0:
            raise UsageError(f"--seed {seed} is negative", hint="Give 0 or more.", code="USAGE-BAD-VALUE")
        for each in self.passes:
            each.check()
        original = model_io.load(model)
        scope = scope or Scope()
        graph.select_nodes(original, (*scope.only, *scope.exclude))  # refuses a pattern without a match
        samples, held_out = open_samples(data, eval_data, original, seed)
        runtime = runtime or RuntimeOptions()
        context = Context(
            original=original,
            teacher=original if teacher is None else model_io.load(teacher),
            target=self.target,
            also=tuple(also),
            data=samples,
            held_out=held_out,
            shapes=dict(shapes or settled_shapes(self.passes, original, samples or held_out, runtime)),
            scope=scope,
            runtime=runtime,
            seed=seed,
            executor=executor,
            statistics=statistics or Statistics(executor=executor),
            strict=strict,
            memory_bytes=memory_bytes,
            verify=self.verify,
            progress=progress,
        )
        gate = verify.Gate(max_drop=self.max_drop, min_sqnr=self.min_sqnr)
        context = with_goal(context, self.passes, gate, metric, apart=eval_data is not None)
        origin = "given" if shapes else "samples" if context.shapes else "guessed"
        return self._run(context, gate, metric, has_teacher=teacher is not None, sizes=origin)

    def _run(self, ctx: Context, gate: verify.Gate, metric: Metric | None, *, has_teacher: bool, sizes: str) -> Result:
        self._check_needs(ctx)
        verify.check_labels(ctx.held_out, metric)
        gate.check_resolution(ctx.held_out, ctx.original, metric=metric)
        report = Report(
            recipe=[p.spec() for p in self.passes],
            environment={**environment(ctx.runtime), "target": self.profile or self.target.name},
        )
        report.before = _costs(ctx.original, ctx)
        said = remarks(ctx.data, ctx.held_out, model=ctx.original, options=ctx.runtime)
        notes = [_table(ctx.original, ctx).size_note(sizes), *said]
        report.notes += dict.fromkeys(filter(None, notes))
        report.notes += [f"{self.target.name} is {self.profile} on this processor"] if self.profile else []
        report.fingerprints["input"] = _fingerprint(ctx.original, ctx)
        report.teacher = model_io.fingerprint(ctx.teacher) if has_teacher else ""
        current = ctx.original
        for group in transactions(self.passes):
            current = self._transaction(group, current, ctx, report)
        report.after = _costs(current, ctx)
        report.fingerprints["output"] = _fingerprint(current, ctx)
        self._check_changed(report)
        self._measure(current, ctx, report, metric, gate)
        return Result(current, report, self.recipe(ctx.seed, ctx.scope), ctx.shapes)

    def _transaction(self, group: tuple[Pass, ...], model: ir.Model, ctx: Context, report: Report) -> ir.Model:
        working = graph.clone(model)
        records = [self._one(p, working, ctx) for p in group]
        changed = any(record.changed for record in records)
        checks = self._verify(group, model, working, ctx, records[-1]) if changed else {}
        for record in records:
            record.checks.update(checks)
            report.passes.append(record)
            if self.on_record is not None:
                self.on_record(record)
        return working

    def _one(self, pass_: Pass, model: ir.Model, ctx: Context) -> PassRecord:
        logger.info("%s ...", pass_.name)
        ctx.progress(pass_.name, 0, 1)
        start, before, print_before = time.perf_counter(), _costs(model, ctx), _fingerprint(model, ctx)
        try:
            findings = list(pass_.run(model, ctx))
            changed = model_io.fingerprint(model) != print_before
            if changed:
                ctx.analyses.drop()
            after = _costs(model, ctx)
        except CompressError as error:
            error.add_note(f"raised by the pass {pass_.name}; its edits were rolled back")
            raise
        if changed and pass_.effect is Effect.ANALYSIS:
            raise InternalError(f"the analysis pass {pass_.name} changed the model", hint="Mend that pass.")
        ctx.progress(pass_.name, 1, 1)
        seconds = time.perf_counter() - start
        return PassRecord(pass_.name, pass_.spec(), changed, seconds, before, after, findings)

    def _verify(
        self, group: tuple[Pass, ...], before: ir.Model, after: ir.Model, ctx: Context, record: PassRecord
    ) -> dict[str, Any]:
        names = " + ".join(p.name for p in group)
        try:
            record.findings.extend(verify.check_structure(after, ctx))
            verify.check_interface(before, after)
            if group[0].effect is not Effect.LOSSY:
                return dict(verify.check_exact(before, after, ctx))
            return measure_between(after, ctx)
        except CompressError as error:
            error.add_note(f"found after the pass {names}; its edits were rolled back")
            raise

    def _check_needs(self, ctx: Context) -> None:
        for pass_ in self.passes:
            if pass_.needs_data == "always" and ctx.data is None:
                raise UsageError(
                    f"the pass {pass_.name} needs samples",
                    why="no data was given",
                    hint="Give --data FILE (npz, npy, folder, safetensors or file.py:function); labels are not needed.",
                    code="USAGE-NO-DATA",
                )
        if (self.max_drop or self.min_sqnr is not None) and ctx.data is None and ctx.held_out is None:
            raise UsageError(
                "a quality gate cannot be checked",
                why="no data was given",
                hint="Give --data or --eval-data, or leave out --max-drop and --min-sqnr.",
                code="USAGE-GATE-WITHOUT-DATA",
            )

    def _check_changed(self, report: Report) -> None:
        """Refuse a run in which no pass that compresses (or, without one, no pass at all) changed anything."""
        lossy = [r for p, r in zip(self.passes, report.passes, strict=True) if p.effect is Effect.LOSSY]
        expected = any(p.effect is not Effect.ANALYSIS for p in self.passes) and not self.allow_unchanged
        if not expected or any(r.changed for r in lossy or report.passes):
            return
        warned = [f"{f.code}: {f.message}" for f in report.findings if f.severity != "info"]
        codes = ", ".join(sorted({f.code for f in report.findings})[:6]) or "nothing to do"
        raise GateError(
            "nothing was compressed; nothing was written",
            why="; ".join(dict.fromkeys([*warned[:1], *warned[-1:]]))
            or f"every pass that could left the model alone ({codes})",
            hint="See the findings with -v, or give --allow-unchanged to write it all the same.",
            code="GATE-UNCHANGED",
        )

    def _measure(
        self,
        model: ir.Model,
        ctx: Context,
        report: Report,
        metric: Metric | None,
        gate: verify.Gate,
    ) -> None:
        if ctx.held_out is None:
            if any(p.effect is Effect.LOSSY for p in self.passes):
                few = "one sample leaves none to measure on; give more, or --eval-data"
                none = "give --data to measure it and to repair what was lost"
                report.notes.append(f"accuracy NOT measured: {none if ctx.data is None else few}")
            return
        comparison, report.quality = measure(model, ctx, metric)
        report.notes += [*foreign_teacher(ctx), *far_apart(report.quality)]
        hold(gate, comparison, report)


def _table(model: ir.Model, ctx: Context) -> ShapeTable:
    """Shapes of the current graph; kept until a pass changes it."""
    return ctx.analyses.get("shapes", lambda: infer(model, shapes=ctx.shapes, runtime=ctx.runtime))


def _costs(model: ir.Model, ctx: Context) -> dict[str, int]:
    """Costs of the current graph; kept until a pass changes it."""
    return ctx.analyses.get("costs", lambda: costs(model, _table(model, ctx)).summary())


def _fingerprint(model: ir.Model, ctx: Context) -> str:
    """Fingerprint of the current graph; kept until a pass changes it."""
    return ctx.analyses.get("fingerprint", lambda: model_io.fingerprint(model))
