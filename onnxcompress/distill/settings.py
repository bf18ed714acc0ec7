"""The options of one distillation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Plain values, as the pass got them.

    Attributes:
        steps: Training steps; 0 trains nothing, None a default number or, with a budget, what it has time for.
        budget: Seconds for everything; None for no limit.
        batch_size: Samples a step.
        rate: Peak learning rate; None chooses by trial.
        loss: ``auto``, or terms with weights.
        temperature: Of the soft targets.
        train: ``all``, ``weights``, ``bias`` or ``norm``.
        bn: ``freeze``, ``update``, or ``revive`` (behind convolutions, for the time of training).
        scales: ``train`` or ``freeze``: those of Q/DQ nodes.
        augment: ``none`` or ``light``.
        repair: Re-normalise before training.
        optimizer: ``adamw`` or ``sgd``.
        ema: Decay of the averaged weights; 0 for none.
        patience: Measurements without a gain after which training stops; 0 for never.
        close: Share of equal classes at which there is nothing more to gain; 1 for never.
        accept_worse: Write a student that came out worse.
        alpha: Weight of the teacher against labels; None leaves labels to `loss`.
        beta: Weight of the entropy of the student's class outputs.
        head_norm: Weight of the regularizer of the last layer.
        hint: ``STUDENT=TEACHER`` inner tensors to compare.
        pair: The same for outputs whose names differ.
        map_teacher: The same for inputs.
        teacher_rate: The teacher's learning rate as a factor on the student's; 0 for a frozen teacher.
        resume: Folder where the run is saved, and gone on with where one is there; None for none.
        kind: ``OUTPUT=classes`` or ``OUTPUT=values``, where the numbers do not tell.
        until: Tensors of both up to which they are compared and trained; the rest stays.
        ops: Python files with torch forms of further operators.
        device: ``auto``, ``cpu`` or ``cuda``.
        teacher_backend: ``auto``, ``ort`` or ``torch``.
        seed: Of the order of the samples.
    """

    steps: int | None = None
    budget: float | None = None
    batch_size: int = 64
    rate: float | None = None
    loss: str = "auto"
    temperature: float = 4.0
    train: str = "all"
    bn: str = "freeze"
    scales: str = "train"
    augment: str = "none"
    repair: bool = True
    optimizer: str = "adamw"
    ema: float = 0.0
    patience: int = 0
    close: float = 0.995
    accept_worse: bool = False
    alpha: float | None = None
    beta: float = 0.0
    head_norm: float = 0.0
    hint: tuple[str, ...] = ()
    pair: tuple[str, ...] = ()
    map_teacher: tuple[str, ...] = ()
    teacher_rate: float = 0.0
    resume: Path | None = None
    kind: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    device: str = "auto"
    teacher_backend: str = "auto"
    seed: int = 0
