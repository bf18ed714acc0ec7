"""The pass that removes channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, option
from onnxcompress.passes.pruning.scores import NAMES

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class PruneChannels(Pass):
    """Remove whole channels, filters, neurons and hidden units, with every weight, shape and attribute they touch.

    Works on any graph: what belongs together is found by tracing indices, what cannot be cut is reported with a reason.
    """

    name: ClassVar[str] = "prune-channels"
    effect: ClassVar[Effect] = Effect.LOSSY

    ratio: float | None = option(None, "Fraction of the channels to remove, 0 to 1.")
    target_macs: str = option("", "Multiply-accumulates to reach: 0.5x of the original, or a figure such as 2M.")
    target_params: str = option("", "Parameters to reach: 0.5x of the original, or a figure such as 200k.")
    target_latency: str = option("", "Time of a run to reach, measured on this machine: 0.6x of the original, or 8ms.")
    score: str = option(
        "auto",
        "What tells which channels go first; auto: the reconstruction error with data, l2 without.",
        choices=("auto", "reconstruction", *NAMES),
    )
    allocation: str = option(
        "auto",
        "uniform: every layer gives the same fraction; global: the least important per cost, wherever they are; "
        "sensitivity: the least error per cost, measured on data; auto: that for a target with data, else uniform.",
        choices=("auto", "uniform", "global", "sensitivity"),
    )
    filter_ratio: float = option(0.0, "Fraction of convolution filters to remove, chosen by the filters' norms.")
    channel_ratio: float = option(0.0, "Fraction of convolution input channels to remove.")
    neuron_ratio: float = option(0.0, "Fraction of neurons of fully connected and recurrent layers to remove.")
    layer: tuple[str, ...] = option((), "Rates by layer: NAME=0.3, re:REGEX=0.3 or op:TYPE=0.3; the last one wins.")
    min_channels: int | str = option(1, "Fewest channels that a layer keeps: a number, or 10% of them.")
    align: int | None = option(None, "Keep multiples of this; by default what the target likes, where it fits.")
    heads: str = option(
        "auto",
        "What attention gives: dims of every head, whole heads, or auto, whichever loses less importance.",
        choices=("auto", "dims", "whole"),
    )
    allow_output: tuple[str, ...] = option(
        (), "Graph outputs that may lose channels: NAME, or NAME:AXIS for one axis of it; their readers must follow."
    )
    plan: str = option("", "Cut what a file says that --plan-out wrote, instead of choosing.")
    allow_miss: bool = option(False, "Where a target cannot be met, take the best that can.")

    def check(self) -> None:
        """Refuse what contradicts itself or asks for nothing."""
        from onnxcompress.passes.pruning.plan import check_options

        check_options(self)

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Cut `model` in place; see `onnxcompress.passes.pruning`."""
        from onnxcompress.passes.pruning.prune import prune

        self.check()
        return prune(model, ctx, self)
