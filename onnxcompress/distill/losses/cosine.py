"""Direction of outputs: for embeddings, which are compared by their angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import MeanTerm
from onnxcompress.distill.outputs import Answer

_PICTURE = 4


@dataclass(frozen=True)
class Cosine(MeanTerm[Answer]):
    """Mean over outputs and positions of 1 - <s, t> / (|s| |t|), along the classes or channels.

    The axis is that of the classes; of other outputs the last, of pictures the channels.

    Attributes:
        compared: The outputs.
    """

    name: ClassVar[str] = "cos"

    def one(self, compared: Answer, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """1 - cos, mean over the positions."""
        axis = compared.axis if compared.classes else 1 if student.ndim == _PICTURE else -1
        return 1 - nnf.cosine_similarity(student, teacher, dim=axis).mean()
