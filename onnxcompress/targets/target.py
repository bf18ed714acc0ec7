"""A target's facts: the form of the files ``targets/<name>.toml`` inside the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """What a runtime wants from a quantized model (reference: quantization, table 4.4).

    Attributes:
        name: Name on the command line.
        summary: One line for ``onnxcompress targets``.
        evidence: How the profile was checked: ``run`` or ``by documentation``.
        activation_dtype: ``uint8`` or ``int8``; ``uint16`` and ``int16`` where the user asks for them.
        profile: The profile that `name` came to on this machine; empty where `name` is one itself.
        calibrator: Rule for ranges where the user names none.
        activation_symmetric: True where the zero point must be 0.
        product_dtype: Type of both factors of a product of two activations, zero point 0; empty for `activation_dtype`.
        weight_dtype: ``int8``; ``int4`` and ``float8`` where the user asks for them.
        widths: Other combinations that it takes, each as ``weights/activations``; ``none`` for weights alone.
        per_channel: Per-channel weight scales.
        per_channel_ops: Operators that take them; empty for all.
        power_of_two: Scales are powers of two: fixed-point numbers.
        reduce_range: Weights in 7 bits.
        pair_sum_limit: Largest sum of two neighbouring products that the kernel's accumulator holds; 0 for no limit.
        quantize_outputs: Q/DQ on outputs of quantized ops too, not only on their inputs.
        everywhere: Q/DQ on every tensor between operators of the lists below, whether or not a product is near.
        bias: ``float`` or ``int32``.
        op_types: Multiplying operators that the target runs on integers.
        output_needed: Those of them that have an integer kernel only with Q/DQ on their output too.
        companion_ops: Operators that run on integers between such operators, where all their inputs are quantized.
        absorbed_ops: Activations that vanish into the operator before them.
        same_scale_ops: Data-movement operators whose input and output share scale and zero point.
        shared_concat: All inputs of a Concat and its output share one scale.
        lint: Whose rules a file for it is checked by (`passes.quantization.lint`): ``tensorrt``, ``openvino`` or
            ``onnxruntime``; empty for none.
        extra_pairs: Where pairs stand besides the inputs of products, for a target without pairs on outputs: names of
            the rules of ``placement/inputs_only.py``.
        exclusions: Products that stay float because int8 does not pay there: names of the rules of
            ``placement/eligible.py``.
        attention_length: Longest sequence for the exclusion ``long-attention``.
        min_opset: Lowest opset of the default domain that the target's Q/DQ form needs.
        channel_alignment: Channel counts after pruning are rounded to a multiple of this where possible.
        sparse_pattern: The pattern N:M of zeros, along a layer's input channels, that the target runs faster; empty for
            none.
        sparse_ops: Operators that it has such kernels for.
        sparse_input_multiple: Input channels must be a multiple of this for them.
        sparse_output_multiple: Outputs likewise.
        sparse_needs: On what, and how built, the target makes use of the pattern; part of a sentence.
        channel_multiples: Exceptions from it, by ``operator``, ``type`` of the weights, or ``operator type``.
        weight_only: Operators whose weights may be stored as int8 while they compute in float.
        fold_weights: Those weights stand behind Cast and Mul, which the runtime folds while it loads a model; behind a
            DequantizeLinear it would compute them anew at every inference.
        prices: Static times of kernels, by which it is weighed what stays float (`sensitivity.prices`).
        options: Anything else the file says.
    """

    name: str
    summary: str
    evidence: str = "by documentation"
    profile: str = ""
    calibrator: str = "mse"
    activation_dtype: str = "uint8"
    activation_symmetric: bool = False
    product_dtype: str = ""
    weight_dtype: str = "int8"
    widths: tuple[str, ...] = ()
    per_channel: bool = True
    per_channel_ops: tuple[str, ...] = ()
    power_of_two: bool = False
    reduce_range: bool = False
    pair_sum_limit: int = 0
    quantize_outputs: bool = True
    everywhere: bool = False
    bias: str = "float"
    op_types: tuple[str, ...] = ("Conv", "MatMul", "Gemm")
    output_needed: tuple[str, ...] = ()
    companion_ops: tuple[str, ...] = ()
    absorbed_ops: tuple[str, ...] = ()
    same_scale_ops: tuple[str, ...] = ()
    shared_concat: bool = False
    lint: str = ""
    extra_pairs: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    attention_length: int = 512
    min_opset: int = 13
    channel_alignment: int = 1
    sparse_pattern: str = ""
    sparse_ops: tuple[str, ...] = ()
    sparse_input_multiple: int = 1
    sparse_output_multiple: int = 1
    sparse_needs: str = ""
    channel_multiples: dict[str, int] = field(default_factory=dict)
    weight_only: tuple[str, ...] = ("Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Gather")
    fold_weights: bool = False
    prices: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def multiple_of(self, op_type: str, dtype: str) -> int:
        """The multiple that kept channels of an operator are rounded to; the most special entry wins."""
        entries = (f"{op_type} {dtype}", dtype, op_type)
        return next((self.channel_multiples[e] for e in entries if e in self.channel_multiples), self.channel_alignment)
