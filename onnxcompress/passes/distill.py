"""The pass that trains a student's weights towards its teacher."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class Distill(Pass):
    """Train the weights to imitate the teacher; the graph stays the same node for node. No labels needed."""

    name: ClassVar[str] = "distill"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "always"

    steps: int = option(300, "Training steps; 0 leaves the model as it is.")
    batch_size: int = option(64, "Samples in one step.")
    lr: str = option("auto", "Peak learning rate: a number, or auto for a short trial of three.")
    loss: str = option("auto", "auto, or terms of hints, kl, mse, ce with weights, e.g. hints:0.8,kl:0.2.")
    temperature: float = option(4.0, "Temperature of the soft targets.")
    optimizer: str = option("adamw", "Optimizer.", choices=("adamw", "sgd"))
    train: str = option("all", "Which weights move.", choices=("all", "weights", "bias", "norm"))
    bn: str = option("freeze", "Statistics of batch normalization.", choices=("freeze", "update"))
    scales: str = option("train", "Scales of Q/DQ nodes.", choices=("train", "freeze"))
    augment: str = option(
        "none", "Views of the samples: as they are, or shifted and levelled a little.", choices=("none", "light")
    )
    repair: bool = option(True, "Give layers the teacher's mean and spread back before training.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Train `model` in place; see `onnxcompress.distill.distillation`."""
        from onnxcompress.errors import UsageError

        rate = self._rate()
        if ctx.data is None:
            what, hint = (
                "cannot distill without samples",
                "Give --data FILE; a few hundred samples do, labels are not needed.",
            )
            raise UsageError(what, why="no data was given", hint=hint, code="USAGE-NO-DATA")
        room = _room()
        settings = room.Settings(
            steps=self.steps,
            batch_size=self.batch_size,
            rate=rate,
            loss=self.loss,
            temperature=self.temperature,
            train=self.train,
            bn=self.bn,
            scales=self.scales,
            augment=self.augment,
            repair=self.repair,
            optimizer=self.optimizer,
            seed=ctx.seed,
        )
        job = room.Job(model, ctx.teacher, ctx.data, ctx.held_out, settings, ctx.runtime, ctx.scope, ctx.progress)
        return room.distill(job)

    def _rate(self) -> float | None:
        """The learning rate as a number; None to choose it by trial.

        Raises:
            UsageError: Where an option's value makes no sense.
        """
        from onnxcompress.errors import UsageError

        try:
            rate = None if self.lr == "auto" else float(self.lr)
        except ValueError:
            rate = -1.0
        valid = {
            "lr": rate is None or rate > 0,
            "steps": self.steps >= 0,
            "batch_size": self.batch_size > 0,
            "temperature": self.temperature > 0,
        }
        for name, fine in valid.items():
            if not fine:
                why = f"{getattr(self, name)!r} is not a positive number"
                raise UsageError(
                    "cannot distill",
                    where=f"option {name}",
                    why=why,
                    hint="Leave it out for the default.",
                    code="USAGE-OPTION",
                )
        return rate


def _room() -> Any:
    """The training room, which needs torch.

    Raises:
        UsageError: Where torch is not installed.
    """
    import importlib

    from onnxcompress.errors import UsageError

    try:
        return importlib.import_module("onnxcompress.distill.distillation")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        what, hint = "cannot distill", "Install it with: pip install 'onnxcompress[distill]'"
        raise UsageError(what, why="torch is not installed", hint=hint, code="USAGE-NO-TORCH") from error
