"""The pass itself: plan, run the machine, put the last good student into the model, and say why it ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress.distill.self_compress import Machine, Outcome, Plan, Stage, Stop
from onnxcompress.graph import clone
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.rates import goal_of
from onnxcompress.passes.self_compressing.workshop import Workshop
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.self_compress import SelfCompress

Numbers = dict[str, float | int | str]
_WHY = {
    Stop.TARGET: "the target is reached",
    Stop.RATE: "the student stayed too far from its teacher, at a learning rate that had decayed to its floor",
    Stop.BUDGET: "the budget is used up",
    Stop.EXHAUSTED: "nothing more may be cut",
}


def self_compress(model: ir.Model, ctx: Context, options: SelfCompress) -> Iterator[Finding]:
    """Cut and train `model` in place until a stop."""
    workshop = Workshop(ctx, options)
    whole = workshop.cost(ctx.original)
    text, flag = (
        (options.target_params, "--target-params") if options.target_params else (options.target_macs, "--target-macs")
    )
    plan = Plan(
        target=goal_of(text, whole, flag),
        cut=options.stage_cut * whole,
        most=options.max_gap,
        rewind=options.rewind,
    )
    done = Machine(workshop, plan, clone(model)).run()
    if done.student is not None and len(done.stages) + done.stages[0].trainings > 1:
        _become(model, done.student)
    yield from workshop.notes.values()
    yield from (_told(at, stage, whole) for at, stage in enumerate(done.stages))
    yield _verdict(done, plan, workshop, whole)


def _become(model: ir.Model, student: ir.Model) -> None:
    """Make `model` the student; callers hold on to the object."""
    copy = clone(student)
    model.graph = copy.graph
    model.functions.clear()
    model.functions.update(copy.functions)
    model.meta.clear()
    model.meta.update(copy.meta)


def _told(at: int, stage: Stage, whole: float) -> Finding:
    numbers: Numbers = {
        "cost": stage.cost / whole,
        "gap": stage.gap.share,
        "error": stage.gap.error,
        "rate": stage.rate,
        "trainings": stage.trainings,
        "decays": stage.decays,
    }
    text = f"stage {at}: {stage.cost / whole:.3f}x of the cost, gap {stage.gap.share:.2%}"
    return Finding("SELF-COMPRESS-STAGE", text, numbers=numbers)


def _verdict(done: Outcome[ir.Model], plan: Plan, workshop: Workshop, whole: float) -> Finding:
    """Which stop it was, what is written, and what could be done about it."""
    kept = None if done.student is None else workshop.cost(done.student) / whole
    numbers: Numbers = {
        "stop": str(done.stop),
        "target": plan.target / whole,
        "stages": len(done.stages),
        "steps": workshop.steps,
        "rate": workshop.rate,
        "seconds": round(workshop.seconds, 2),
    }
    if done.stop is Stop.TARGET:
        return Finding("SELF-COMPRESS-DONE", f"{_WHY[done.stop]}: {kept:.3f}x of the cost", numbers=numbers)
    what = "no student was near enough: the model is left as it came" if kept is None else f"kept is {kept:.3f}x"
    last = done.stages[-1]
    text = (
        f"stopped at {last.cost / whole:.3f}x, short of {plan.target / whole:.3f}x: {_WHY[done.stop]} "
        f"(gap {last.gap.share:.2%}, limit {plan.most:.2%}); {what}"
    )
    return Finding("SELF-COMPRESS-STOPPED", text, severity=Severity.WARNING, numbers=numbers)
