"""The options of one distillation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Plain values, as the pass got them.

    Attributes:
        steps: Training steps; 0 trains nothing.
        batch_size: Samples a step.
        rate: Peak learning rate; None chooses by trial.
        loss: ``auto``, or terms with weights.
        temperature: Of the soft targets.
        train: ``all``, ``weights``, ``bias`` or ``norm``.
        bn: ``freeze``, ``update`` or ``auto``.
        scales: ``train`` or ``freeze``: those of Q/DQ nodes.
        augment: ``none`` or ``light``.
        repair: Re-normalise before training.
        optimizer: ``adamw`` or ``sgd``.
        seed: Of the order of the samples.
    """

    steps: int = 300
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
    seed: int = 0
