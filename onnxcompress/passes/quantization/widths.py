"""How wide weights and activations are: what the user asked for, held to what the target takes."""

from __future__ import annotations

from dataclasses import replace

from onnxcompress.errors import UsageError
from onnxcompress.passes.quantization.kinds import weight_kind
from onnxcompress.report import Finding
from onnxcompress.targets import Target

_FIRST_OPSET = {"uint16": 21, "int16": 21}
"""The first operator set whose QuantizeLinear writes a type; all write 8 bits."""


def widths_of(target: Target) -> list[str]:
    """Combinations that a target takes, as ``weights/activations``; its default comes first."""
    own = f"{target.weight_dtype}/{target.activation_dtype}"
    return list(dict.fromkeys((own, *target.widths, f"{target.weight_dtype}/none")))


def with_widths(target: Target, weights: str | None, activations: str | None) -> Target:
    """The target with other types of weights and activations, and with the operator set that they need.

    Args:
        target: The target.
        weights: ``int8``, ``int4`` or ``float8``; None for the target's own.
        activations: ``none``, ``uint8``, ``int8``, ``uint16`` or ``int16``; None for the target's own.

    Raises:
        UsageError: Where the target cannot take the combination.
    """
    first, second = weights or target.weight_dtype, activations or target.activation_dtype
    known = widths_of(target)
    if f"{first}/{second}" not in known:
        given = " ".join(f"--{k} {v}" for k, v in (("weights", weights), ("activations", activations)) if v)
        raise UsageError(
            f"the target {target.name} cannot take {given}",
            why=f"it takes, as weights/activations: {', '.join(known)}",
            hint=_nearest(first, second, known),
            code="USAGE-WIDTHS",
        )
    needed = max(target.min_opset, _FIRST_OPSET.get(second, 0), weight_kind(first).opset)
    dtype = target.activation_dtype if second == "none" else second
    return replace(target, weight_dtype=first, activation_dtype=dtype, min_opset=needed)


def _nearest(weights: str, activations: str, known: list[str]) -> str:
    pairs = [text.split("/") for text in known]
    found = next((p for i, wanted in enumerate((weights, activations)) for p in pairs if p[i] == wanted), pairs[0])
    return f"Give --weights {found[0]} --activations {found[1]}, say, or another --target."


def computes_in_float(target: Target) -> Finding | None:
    """For ONNX Runtime: a note where it has no integer kernels for the widths; None where it has."""
    if target.weight_dtype == "int8" and target.activation_dtype in ("uint8", "int8"):
        return None
    message = (
        f"ONNX Runtime has integer kernels for 8 bits alone: {target.weight_dtype} weights and "
        f"{target.activation_dtype} activations keep the grid and the size, and compute in float"
    )
    return Finding("QUANT-WIDTHS", message)
