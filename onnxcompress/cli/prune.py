"""``onnxcompress prune``."""

from __future__ import annotations

from typing import Any

from onnxcompress.cli.build import PassFlags, build
from onnxcompress.cli.execute import Flags, execute
from onnxcompress.cli.options import (
    DataFlags,
    LogFlags,
    MachineFlags,
    ModelPath,
    OutputFlags,
    QualityFlags,
    ScopeFlags,
)


def prune(
    model: ModelPath,
    options: PassFlags,
    output: OutputFlags,
    data: DataFlags,
    quality: QualityFlags,
    runtime: MachineFlags,
    scope: ScopeFlags,
    log: LogFlags,
) -> None:
    """Remove whole channels, filters, neurons and hidden units, with everything that depends on them.

    With --data the rest is refitted to the original's outputs and the loss is measured; without, the repair
    is weaker, little is removed by default, and accuracy is NOT measured.

    --weights (or --sparsity, --threshold) sets single weights to zero instead: the zipped file shrinks, a dense
    runtime gains no time. Channels go as well where an amount of them is given (--ratio, --target-macs, ...);
    --layer then speaks of one of the two only.
    """

    def recipe(settings: dict[str, Any]) -> Any:
        from onnxcompress.api import recipe_for

        return recipe_for("prune", options, has_data=data.data is not None, settings=settings)

    execute(model, recipe, Flags(output, data, quality, runtime, scope, log), suffix="pruned")


def command() -> Any:
    """The command, ready to be run."""
    return build(prune, name="prune", passes=("prune-channels", "prune-blocks", "prune-weights"))
