"""Attention transfer (Zagoruyko and Komodakis 2016, 1612.03928): where the networks look, whatever their channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.losses.base import MeanTerm
from onnxcompress.distill.losses.projection import pooled
from onnxcompress.distill.taps import Tap


@dataclass(frozen=True)
class Attention(MeanTerm[Tap]):
    """Mean over the taps of mean (Q(f_s) - Q(f_t))^2, Q(f) = q / |q|_2 of q = mean over the channels of f^2.

    That is the form of the authors' code; their paper sums over channels and takes the norm of the difference. Maps of
    different size are averaged down to the smaller.

    Attributes:
        compared: Inner tensors that have positions beside channels.
    """

    name: ClassVar[str] = "at"

    def one(self, compared: Tap, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The mean squared difference of the two maps."""
        channel = compared.channel
        mine, theirs = (f.square().mean(channel, keepdim=True).movedim(channel, 1) for f in (student, teacher))
        maps = (pooled(mine, 1, theirs.shape), pooled(theirs, 1, mine.shape))
        mine, theirs = (nnf.normalize(q.flatten(1), dim=1) for q in maps)
        return (mine - theirs).square().mean()
