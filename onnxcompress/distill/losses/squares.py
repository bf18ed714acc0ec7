"""Normalised squared error: mean (s - t)^2 / mean t^2, for outputs, logits and inner tensors (hints, 1412.6550)."""

from __future__ import annotations

import torch


def squared_error(student: torch.Tensor, teacher: torch.Tensor, power: float) -> torch.Tensor:
    """Mean squared difference in units of `power`, the teacher's mean square over a fixed set of samples."""
    return (student - teacher).square().mean() / power
