"""``onnxcompress quantize``."""

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


def quantize(
    model: ModelPath,
    options: PassFlags,
    output: OutputFlags,
    data: DataFlags,
    quality: QualityFlags,
    runtime: MachineFlags,
    scope: ScopeFlags,
    log: LogFlags,
) -> None:
    """Make the model compute in int8: Q/DQ nodes with calibrated ranges, as the target wants them.

    Without --data only the weights become int8: the file is about four times smaller and not faster.
    """

    def recipe(settings: dict[str, Any]) -> Any:
        from onnxcompress.api import recipe_for

        return recipe_for("quantize", options, has_data=data.data is not None, settings=settings)

    execute(
        model,
        recipe,
        Flags(output, data, quality, runtime, scope, log),
        suffix="int8",
        without_data="note: int8 weights only, a smaller file; with --data the model also computes in int8",
    )


def command() -> Any:
    """The command, ready to be run."""
    return build(quantize, name="quantize", passes=("insert-qdq", "quantize-weights"))
