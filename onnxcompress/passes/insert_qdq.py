"""The pass `insert-qdq`: Q/DQ nodes with calibrated ranges where the target runs on integers.

Placement is data of the target (`onnxcompress targets`), ranges come from one streamed pass over the samples and a rule
(`onnxcompress.calibrators`), weights become int8 behind a DequantizeLinear. Before the graph is edited, each tensor is
tried alone in int8: those few that change the output far more than the others stay float (islands). Nodes
that stay float, recurrent ones and embedding tables among them, keep int8 weights where that is exact enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class InsertQDQ(Pass):
    """Insert Q/DQ nodes with calibrated ranges, and store weights as int8, as the target wants them."""

    name: ClassVar[str] = "insert-qdq"
    effect: ClassVar[Effect] = Effect.LOSSY
    at_sample_sizes: ClassVar[bool] = True
    by_profile: ClassVar[bool] = True
    needs_data: ClassVar[str] = "always"
    steers: ClassVar[bool] = True

    weights: str | None = option(
        None, "Type of the weights; the target's own by default.", choices=("int8", "int4", "float8")
    )
    activations: str | None = option(
        None,
        "Type of the activations; the target's own by default.",
        choices=("none", "uint8", "int8", "uint16", "int16"),
    )
    clip: str = option(
        "auto",
        "How a channel's weight scale is chosen: its largest weight, or least squared error; auto: that below 8 bits.",
        choices=("auto", "none", "mse"),
    )
    calibrator: str = option(
        "auto",
        "Rule that chooses a range: auto is the target's.",
        choices=("auto", "uniform", "histogram", "kl", "mse", "truncate"),
    )
    percentile: float = option(99.99, "Share of the values inside the range, for the calibrator `histogram`.")
    low_bits: str = option(
        "round",
        "Bits of weights below one step go to the nearest or are dropped; `truncate` chooses its ranges for that.",
        choices=("round", "truncate"),
    )
    per_channel: bool = option(True, "One weight scale for each output channel.")
    islands: str = option("auto", "How many of the most sensitive tensors stay float: a number, or `auto`.")
    evaluations: int = option(128, "Most runs of the few samples that sensitivity, ranges and islands take.")
    effort: str = option(
        "default",
        "fast calibrates and writes; default looks for what is sensitive and repairs; best also equalizes and rounds.",
        choices=("fast", "default", "best"),
    )
    samples: int = option(512, "Most calibration samples used, evenly spaced; 0 for all.")

    def check(self) -> None:
        """Refuse islands that are no number, and a percentile out of range or that no rule will read."""
        if str(self.islands) != "auto" and not str(self.islands).isdecimal():
            why = f"{self.islands!r} is neither a number nor auto"
            raise UsageError("cannot read --islands", why=why, hint="Give --islands 2, say.", code="USAGE-BAD-VALUE")
        if not 0 < self.percentile <= 100:
            what = f"--percentile {self.percentile:g} is out of range"
            why = "it is the share of the values inside the range, in per cent, above 0 and at most 100"
            raise UsageError(what, why=why, hint="Give 99.99, say.", code="USAGE-BAD-VALUE")
        if self.percentile != type(self).percentile and self.calibrator != "histogram":
            what = f"--percentile {self.percentile:g} would have no effect"
            why = f"only the calibrator histogram reads it, and this one is {self.calibrator}"
            hint = "Give --calibrator histogram too, or leave out --percentile."
            raise UsageError(what, why=why, hint=hint, code="USAGE-WITHOUT-EFFECT")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Place, calibrate, look for islands, edit; every multiplying node left float gets a reason code."""
        from onnxcompress.passes.quantization.static import quantize_static

        self.check()
        return quantize_static(model, ctx, self)
