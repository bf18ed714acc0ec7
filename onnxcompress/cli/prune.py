"""``onnxcompress prune``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from onnxcompress.cli.build import PassFlags, build
from onnxcompress.cli.console import Terminal, write_result
from onnxcompress.cli.execute import Flags, execute
from onnxcompress.cli.options import (
    DataFlags,
    Group,
    LogFlags,
    MachineFlags,
    ModelPath,
    OutputFlags,
    QualityFlags,
    ScopeFlags,
    flag,
)


@dataclass(frozen=True)
class PlanFlags(Group):
    """What is looked at and kept besides the model."""

    panel: ClassVar[str] = "Explain and replay"
    explain: bool = flag(False, "List what may be cut, what must stay and why; write nothing.", "--explain")
    plan_out: Path | None = flag(None, "Also write which channels went, for --plan.", metavar="FILE.json")


def prune(
    model: ModelPath,
    options: PassFlags,
    plans: PlanFlags,
    output: OutputFlags,
    data: DataFlags,
    quality: QualityFlags,
    runtime: MachineFlags,
    scope: ScopeFlags,
    log: LogFlags,
) -> None:
    """Remove whole channels, filters, neurons and hidden units, with everything that depends on them.

    With --data the rest is refitted to the original's outputs and the loss is measured. Without, nothing is
    refitted: most of the accuracy may go with half of the channels, and it is NOT measured.

    --weights (or --sparsity, --threshold) sets single weights to zero instead: the zipped file shrinks, a dense
    runtime gains no time. Channels go as well where an amount of them is given (--ratio, --target-macs, ...);
    --layer then speaks of one of the two only.

    --explain lists every group of channels, with its share of the cost and what would be cut, and every layer that
    must stay, with the reason. --plan-out keeps a selection, --plan replays it.
    """

    def recipe(settings: dict[str, Any]) -> Any:
        from onnxcompress.api import recipe_for

        return recipe_for("prune", options, has_data=data.data is not None, settings=settings)

    flags = Flags(output, data, quality, runtime, scope, log)
    if plans.explain:
        _explain(model, recipe(flags.settings()), flags)
        return
    if plans.plan_out is not None:
        _check_plan(plans.plan_out, force=output.force)

    def finish(result: Any) -> None:
        if plans.plan_out is not None:
            _write_plan(plans.plan_out, result, force=output.force)

    execute(model, recipe, flags, suffix="pruned", finish=finish)


def _explain(model: Path, recipe: Any, flags: Flags) -> None:
    from onnxcompress.model_io.precheck import precheck

    source = precheck(model)
    with Terminal(flags.log):
        from onnxcompress.explaining import explain_recipe

        found = explain_recipe(
            recipe, source, data=flags.data.options(), shapes=flags.runtime.shapes(), runtime=flags.runtime.options()
        )
    if flags.output.json:
        write_result(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        from onnxcompress.report.explanation import to_text

        write_result(to_text(found))


def _check_plan(path: Path, *, force: bool) -> None:
    from onnxcompress.report.files import check_writable

    check_writable(path, force=force)


def _write_plan(path: Path, result: Any, *, force: bool) -> None:
    from onnxcompress.model_io.atomic import write_text_atomic
    from onnxcompress.passes.pruning.selection import META, document

    text = document(result.model.meta.get(META, []), result.report.fingerprints["input"])
    write_text_atomic(path.absolute(), text, force=force)


def command() -> Any:
    """The command, ready to be run."""
    return build(prune, name="prune", passes=("prune-channels", "prune-blocks", "prune-weights"))
