"""Cross-entropy with labels, where the data has them."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.outputs import Answer


def label_error(student: torch.Tensor, labels: torch.Tensor, answer: Answer) -> torch.Tensor:
    """Mean cross-entropy of class ids along the class axis."""
    moved = student.movedim(answer.axis, 1) if student.ndim > 2 else student
    if answer.kind == "probabilities":
        return nnf.nll_loss(moved.clamp(min=1e-7).log(), labels)
    return nnf.cross_entropy(moved, labels)
