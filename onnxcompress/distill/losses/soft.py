"""Soft targets (Hinton et al. 2015, arXiv 1503.02531): T^2 KL(softmax(t/T) || softmax(s/T))."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.outputs import Answer


def soft_targets(student: torch.Tensor, teacher: torch.Tensor, answer: Answer, temperature: float) -> torch.Tensor:
    """Mean over all positions of the divergence along the class axis, times T^2."""
    mine = nnf.log_softmax(_logits(student, answer) / temperature, answer.axis)
    theirs = nnf.log_softmax(_logits(teacher, answer) / temperature, answer.axis)
    return (theirs.exp() * (theirs - mine)).sum(answer.axis).mean() * temperature**2


def _logits(tensor: torch.Tensor, answer: Answer) -> torch.Tensor:
    """Logits as they are; of probabilities the logarithm, which is the same up to a constant."""
    return tensor if answer.kind == "logits" else tensor.clamp(min=1e-7).log()
