"""A target's facts, read from ``targets/<name>.toml`` inside the package."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any

from onnxcompress.errors import UsageError


@dataclass(frozen=True)
class Target:
    """What a runtime wants from a quantized model (reference: quantization, table 4.4).

    Attributes:
        name: Name on the command line.
        summary: One line for ``onnxcompress targets``.
        evidence: How the profile was checked: ``run`` or ``by documentation``.
        activation_dtype: ``uint8`` or ``int8``.
        activation_symmetric: True where the zero point must be 0.
        weight_dtype: Always ``int8`` today.
        per_channel: Per-channel weight scales.
        reduce_range: Weights in 7 bits.
        quantize_outputs: Q/DQ on outputs of quantized ops too, not only on their inputs.
        bias: ``float`` or ``int32``.
        residual_add: ``skip`` (skip side only), ``both`` (both inputs and output).
        op_types: Multiplying operators that the target runs on integers.
        output_needed: Those of them that have an integer kernel only with Q/DQ on their output too.
        companion_ops: Operators that run on integers between such operators, where all their inputs are quantized.
        absorbed_ops: Activations that vanish into the operator before them.
        same_scale_ops: Data-movement operators whose input and output share scale and zero point.
        shared_concat: All inputs of a Concat and its output share one scale.
        exclude_gemv: Leave matrix-vector products (one row or one column) and tiny products in float.
        exclude_masked_attention: Leave the two products around a masked Softmax in float.
        min_opset: Lowest opset of the default domain that the target's Q/DQ form needs.
        channel_alignment: Channel counts after pruning are rounded to a multiple of this where possible.
        sparse_pattern: The pattern N:M of zeros, along a layer's input channels, that the target runs faster; empty for
            none.
        sparse_ops: Operators that it has such kernels for.
        sparse_input_multiple: Input channels must be a multiple of this for them.
        sparse_output_multiple: Outputs likewise.
        sparse_needs: On what, and how built, the target makes use of the pattern; part of a sentence.
        channel_multiples: Exceptions from it, by ``operator``, ``type`` of the weights, or ``operator type``.
        options: Anything else the file says.
    """

    name: str
    summary: str
    evidence: str = "by documentation"
    activation_dtype: str = "uint8"
    activation_symmetric: bool = False
    weight_dtype: str = "int8"
    per_channel: bool = True
    reduce_range: bool = False
    quantize_outputs: bool = True
    bias: str = "float"
    residual_add: str = "both"
    op_types: tuple[str, ...] = ("Conv", "MatMul", "Gemm")
    output_needed: tuple[str, ...] = ()
    companion_ops: tuple[str, ...] = ()
    absorbed_ops: tuple[str, ...] = ()
    same_scale_ops: tuple[str, ...] = ()
    shared_concat: bool = False
    exclude_gemv: bool = False
    exclude_masked_attention: bool = False
    min_opset: int = 13
    channel_alignment: int = 1
    sparse_pattern: str = ""
    sparse_ops: tuple[str, ...] = ()
    sparse_input_multiple: int = 1
    sparse_output_multiple: int = 1
    sparse_needs: str = ""
    channel_multiples: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def multiple_of(self, op_type: str, dtype: str) -> int:
        """The multiple that kept channels of an operator are rounded to; the most special entry wins."""
        entries = (f"{op_type} {dtype}", dtype, op_type)
        return next((self.channel_multiples[e] for e in entries if e in self.channel_multiples), self.channel_alignment)


def target_names() -> list[str]:
    """Names of all targets, sorted."""
    folder = resources.files("onnxcompress.targets")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_target(name: str) -> Target:
    """The target called `name`.

    Raises:
        UsageError: Where there is none of that name.
    """
    if name not in target_names():
        known = ", ".join(target_names())
        raise UsageError(f"unknown target {name!r}", hint=f"Use one of: {known}.", code="USAGE-UNKNOWN-TARGET")
    text = (resources.files("onnxcompress.targets") / f"{name}.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    known_fields = {f.name for f in fields(Target)} - {"options"}
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in known_fields}
    given |= {"name": name, "options": {k: v for k, v in raw.items() if k not in known_fields}}
    return Target(**given)
