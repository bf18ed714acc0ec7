"""The pass that trains a student's weights towards its teacher."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from onnxcompress.passes.base import Context, Effect, Pass, check_ranges, option

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.distill.settings import Settings
    from onnxcompress.errors import CompressError
    from onnxcompress.report import Finding


@dataclass(frozen=True, kw_only=True)
class Distill(Pass):
    """Train the weights to imitate the teacher; the graph stays the same node for node. No labels needed."""

    name: ClassVar[str] = "distill"
    effect: ClassVar[Effect] = Effect.LOSSY
    needs_data: ClassVar[str] = "always"

    steps: int | None = option(None, "Training steps; by default 300, or as many as --budget has time for.")
    budget: str | None = option(
        None, "Time for everything, as 90s, 3m or 1h; how much is learned then varies with the machine."
    )
    batch_size: int = option(64, "Samples in one step.")
    lr: str | float = option("auto", "Peak learning rate: a number, or auto for short trials of up to four.")
    loss: str = option(
        "auto",
        "auto, or terms with weights, e.g. hints:0.8,kl:0.2 or std:1@T=2: hints (inner tensors), at (attention), kl "
        "(soft targets), std (standardised logits), mse, cos (embeddings), wt (a learned matrix maps the teacher's "
        "output to the student's), det (detectors before suppression), ce (labels).",
    )
    temperature: float = option(4.0, "Temperature of the soft targets.")
    optimizer: str = option("adamw", "Optimizer.", choices=("adamw", "sgd"))
    train: str = option("all", "Which weights move.", choices=("all", "weights", "bias", "norm"))
    bn: str = option(
        "freeze",
        "Batch normalization: keep its statistics, let them follow, or put it back behind convolutions while training.",
        choices=("freeze", "update", "revive"),
    )
    scales: str = option("train", "Scales of Q/DQ nodes.", choices=("train", "freeze"))
    augment: str = option(
        "none", "Views of the samples: as they are, or shifted and levelled a little.", choices=("none", "light")
    )
    alpha: float | None = option(None, "Weight of the teacher, the rest to 1 on labels; without it the loss decides.")
    beta: float = option(0.0, "Weight of the entropy of the student's answers; below 0 makes them less decided.")
    head_norm: float = option(0.0, "Weight that keeps the last layer's vectors as long as the teacher's, e.g. 0.01.")
    hint: tuple[str, ...] = option(
        (),
        "Compare this inner tensor of the student with that of the teacher: STUDENT=TEACHER; instead of those found.",
    )
    pair: tuple[str, ...] = option((), "Output of the student and the teacher's that it follows: STUDENT=TEACHER.")
    map_teacher: tuple[str, ...] = option((), "Input of the student and the teacher's it feeds too: STUDENT=TEACHER.")
    kind: tuple[str, ...] = option(
        (), "What an output is where its numbers do not tell: OUTPUT=classes, or OUTPUT=values (regression, embedding)."
    )
    until: tuple[str, ...] = option(
        (), "Compare and train the part up to this tensor only; the rest stays, whatever its operators."
    )
    ops: tuple[str, ...] = option((), "Python file with torch forms of further operators; its code is run.")
    repair: bool = option(True, "Give layers the teacher's mean and spread back before training.")
    ema: float = option(0.0, "Decay of averaged weights, e.g. 0.99, which are kept in place of the last; 0 for none.")
    patience: int = option(0, "Measurements without a gain after which training stops; 0 for never.")
    close: float = option(0.995, "Share of equal answers at which there is nothing more to gain; 1 for never.")
    accept_worse: bool = option(False, "Write the student also where it came out further from its teacher.")
    teacher_lr_mult: float = option(
        0.0,
        "Let a copy of the teacher learn along at this multiple of the student's rate, held to what it was; 0 for no.",
    )
    device: str = option(
        "auto", "Where torch computes; auto takes CUDA where there is one.", choices=("auto", "cpu", "cuda")
    )
    teacher_backend: str = option(
        "auto", "What runs the teacher; auto is ONNX Runtime, torch on CUDA.", choices=("auto", "ort", "torch")
    )
    resume: str | None = option(None, "Folder where the training is saved on the way; a killed one goes on from there.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Train `model` in place; see `onnxcompress.distill.distillation`."""
        from onnxcompress.distill.job import Job
        from onnxcompress.errors import UsageError

        if ctx.data is None:
            hint = "Give --data FILE; a few hundred samples do, labels are not needed."
            what, why = "cannot distill without samples", "no data was given"
            raise UsageError(what, why=why, hint=hint, code="USAGE-NO-DATA")
        room = _room()
        settings = self._settings(ctx.seed)
        job = Job(model, ctx.teacher, ctx.data, ctx.held_out, settings, ctx.runtime, ctx.scope, ctx.progress)
        return room.distill(job)

    def _settings(self, seed: int) -> Settings:
        """The options as the training takes them: those of the same name, and those that are read first."""
        from onnxcompress.distill.settings import Settings

        own = {f.name for f in fields(self)}
        same: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(Settings) if f.name in own}
        resume = None if self.resume is None else Path(self.resume)
        same |= {"budget": self._seconds(), "rate": self._rate(), "resume": resume}
        same |= {"teacher_rate": self.teacher_lr_mult, "seed": seed}
        return Settings(**same)

    def portable(self) -> Self:
        """This pass without the folder of a checkpoint."""
        return replace(self, resume=None)

    def check(self) -> None:
        """Refuse what makes no sense, and a machine without torch, before any file is read.

        Raises:
            UsageError: Naming the option.
        """
        require_torch("distill")
        self._seconds()
        check_ranges("distill", self, self._limits())

    def _limits(self) -> Iterable[tuple[str, bool, str]]:
        """(option, whether it is in its range, the range)."""
        rate = self._rate()
        yield "lr", rate is None or 0 < rate < 1e3, "a positive number or auto"
        yield "steps", self.steps is None or self.steps >= 0, "0 or more"
        yield "batch_size", self.batch_size > 0, "a positive number"
        yield "temperature", 0 < self.temperature < 1e6, "a positive number"
        yield "alpha", self.alpha is None or 0 <= self.alpha <= 1, "from 0 to 1"
        yield "beta", abs(self.beta) < 1e6, "a number"
        yield "head_norm", 0 <= self.head_norm < 1e6, "0 or more"
        yield "ema", 0 <= self.ema < 1, "from 0 to below 1"
        yield "resume", self.resume is None or bool(self.resume.strip()), "the name of a folder"
        yield "patience", self.patience >= 0, "0 or more"
        yield "teacher_lr_mult", 0 <= self.teacher_lr_mult <= 1000, "from 0 to 1000"
        yield "close", 0 < self.close <= 1, "above 0 and at most 1"

    def _seconds(self) -> float | None:
        from onnxcompress.duration import parse_duration

        return None if self.budget is None else parse_duration(self.budget, option="budget")

    def _rate(self) -> float | None:
        """The learning rate as a number, -1 for nonsense; None to choose it by trial."""
        try:
            return None if self.lr == "auto" else float(self.lr)
        except ValueError:
            return -1.0


def _room() -> Any:
    """The training room, which needs torch.

    Raises:
        UsageError: Where torch is not installed.
    """
    import importlib

    try:
        return importlib.import_module("onnxcompress.distill.distillation")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise _no_torch() from error


def require_torch(doing: str) -> None:
    """Refuse a machine without torch, before any work.

    Raises:
        UsageError: Where torch is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise _no_torch(doing)


def _no_torch(doing: str = "distill") -> CompressError:
    from onnxcompress.errors import UsageError

    what, hint = f"cannot {doing}", "Install it with: pip install 'onnxcompress[distill]'"
    return UsageError(what, why="torch is not installed", hint=hint, code="USAGE-NO-TORCH")
