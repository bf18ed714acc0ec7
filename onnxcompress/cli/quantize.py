"""``onnxcompress quantize``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from onnxcompress.cli.build import PassFlags, build
from onnxcompress.cli.calibration import CalibrationFlags
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

_WEIGHTS_ALONE = "note: int8 weights only, a smaller file; with --data the model also computes in int8"
_NARROW_ALONE = "note: {} weights only: a smaller file, that computes in float"


@dataclass(frozen=True)
class StartFlags(Group):
    """How quantization goes about it."""

    panel: ClassVar[str] = "Way"
    dynamic: bool = flag(
        False, "Find the ranges at every inference: MatMul and Gemm in int8 on ONNX Runtime, no data.", "--dynamic"
    )
    float16: bool = flag(False, "Weights and arithmetic in float16, half the bytes, in place of integers.", "--float16")
    requantize: bool = flag(False, "Make a model that is quantized already float first.", "--requantize")


def quantize(
    model: ModelPath,
    options: PassFlags,
    start: StartFlags,
    output: OutputFlags,
    data: DataFlags,
    calibration: CalibrationFlags,
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

        given = {**options, "requantize": start.requantize or None, "dynamic": start.dynamic or None}
        given["float16"] = start.float16 or None
        return recipe_for("quantize", given, has_data=data.data is not None, settings=settings)

    execute(
        model,
        recipe,
        Flags(output, data, quality, runtime, scope, log, calibration),
        suffix=_suffix(options, start),
        several=True,
        without_data=_without_data(options, start),
    )


def _without_data(options: PassFlags, start: StartFlags) -> str:
    """What to say first where there are no samples and the user may have expected integer arithmetic."""
    floats = start.float16 or options.get("float_type") or options.get("block_ops")
    if start.dynamic or floats or options.get("activations") == "none":
        return ""
    kind = options.get("weights") or "int8"
    return _WEIGHTS_ALONE if kind == "int8" else _NARROW_ALONE.format(kind)


def _suffix(options: PassFlags, start: StartFlags) -> str:
    """What the file beside the model is called after: the type of its weights."""
    default = "float16" if start.float16 else "int8"
    return str(options.get("float_type") or options.get("weights") or default)


def command() -> Any:
    """The command, ready to be run."""
    return build(quantize, name="quantize", passes=("insert-qdq", "quantize-weights", "convert-float"))
