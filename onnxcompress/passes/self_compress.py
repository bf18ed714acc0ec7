"""The pass that lets the learning rate decide when a student is cut a little further."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, check_ranges, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class SelfCompress(Pass):
    """Train, prune a little where training stands still, repair, rewind the learning rate, and so on to a target.

    Where the student is too far from its teacher the rate decays instead. Written is the last student that was near
    enough. Sources: gradual pruning (Zhu and Gupta 2017), rewinding of the learning rate (Renda et al. 2020).
    """

    name: ClassVar[str] = "self-compress"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "always"
    not_after: ClassVar[tuple[str, ...]] = ("insert-qdq", "quantize-weights", "quantize-dynamic", "prune-weights")

    target_macs: str = option("", "Multiply-accumulates to reach: 0.4x of the original, or a figure such as 2M.")
    target_params: str = option("", "Parameters to reach: 0.4x of the original, or a figure such as 200k.")
    max_gap: float = option(
        0.1, "Share of answers that may differ from the teacher's (relative error where answers are no classes)."
    )
    stage_cut: float = option(0.1, "Part of the original's cost that one pruning takes off.")
    stage_steps: int = option(50, "Training steps between two looks at the gap.")
    rewind: float = option(0.9, "Learning rate after a pruning, as a factor on the one that the stage before had.")
    reconstruct: bool = option(True, "Refit the weights in closed form after each pruning.")
    budget: str | None = option(None, "Time for everything, as 90s, 3m or 1h; the stages share it.")
    batch_size: int = option(64, "Samples in one step.")
    lr: str = option("auto", "Peak learning rate of the first stage: a number, or auto for that of the network's kind.")
    loss: str = option("auto", "auto, or terms with weights, as of distill.")
    temperature: float = option(4.0, "Temperature of the soft targets.")
    optimizer: str = option("adamw", "Optimizer.", choices=("adamw", "sgd"))
    augment: str = option("none", "Views of the samples.", choices=("none", "light"))

    def check(self) -> None:
        """Refuse what contradicts itself or makes no sense.

        Raises:
            UsageError: Naming the option.
        """
        from onnxcompress.errors import UsageError
        from onnxcompress.passes.distill import require_torch
        from onnxcompress.passes.pruning.rates import check_goal

        require_torch("self-compress")
        if bool(self.target_macs) == bool(self.target_params):
            why = "both targets were given" if self.target_macs else "it was not told what to come to"
            hint = "Give one of --target-macs 0.4x and --target-params 0.4x."
            raise UsageError("cannot self-compress", why=why, hint=hint, code="USAGE-SELF-COMPRESS-TARGET")
        name = "target_macs" if self.target_macs else "target_params"
        check_goal(name, getattr(self, name))
        self.seconds()
        check_ranges("self-compress", self, self._limits())

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Cut and train `model` in place; see `onnxcompress.distill.self_compress`."""
        from onnxcompress.passes.self_compressing.compress import self_compress

        self.check()
        return self_compress(model, ctx, self)

    def seconds(self) -> float | None:
        """The budget as a number; None without one.

        Raises:
            UsageError: Where it is no length of time.
        """
        from onnxcompress.duration import parse_duration

        return None if self.budget is None else parse_duration(self.budget, option="budget")

    def _limits(self) -> Iterable[tuple[str, bool, str]]:
        """(option, whether it is in its range, the range)."""
        yield "max_gap", self.max_gap > 0, "above 0"
        yield "stage_cut", 0 < self.stage_cut < 1, "between 0 and 1"
        yield "stage_steps", self.stage_steps > 0, "a positive number"
        yield "rewind", 0 < self.rewind <= 1, "above 0 and at most 1"
        yield "batch_size", self.batch_size > 0, "a positive number"
        yield "temperature", self.temperature > 0, "a positive number"
        yield "lr", self.lr == "auto" or _positive(self.lr), "a positive number or auto"


def _positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
