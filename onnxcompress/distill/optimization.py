"""One training step: gradients of all runs, all processes; clipped; AdamW or SGD; zeros and averages kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from onnxcompress.distill.distributed import World
from onnxcompress.distill.weights import Weight

CLIP = 5.0
# A weight tensor with at least this share of exact zeros was pruned on purpose: the zeros stay.
_SPARSE = 0.2
# On a grid zeros must be so many times as frequent as the numbers on either side.
_LONELY = 3.0

Chosen = Sequence[tuple[Weight, torch.nn.Parameter]]


class Stepper:
    """Moves the chosen weights.

    Args:
        chosen: The weights that move.
        extra: Parameters of the loss that are learned along, and thrown away after.
        name: ``adamw`` or ``sgd``.
        world: The processes that train together.

    Attributes:
        factor: What rates are multiplied by; halved after every step whose gradient was not finite.
        culprit: Name of the last weight whose gradient was not finite.
        reached: A gradient came to one of the chosen weights in the last step.
    """

    def __init__(
        self,
        chosen: Chosen,
        extra: Sequence[torch.nn.Parameter] = (),
        *,
        name: str = "adamw",
        world: World | None = None,
    ) -> None:
        self._chosen, self._world = list(chosen), world or World()
        self._masks = [(p, p.detach() != 0) for w, p in chosen if _is_sparse(w, p)]
        # A scale gathers the gradients of a whole tensor: clipped together with weights, it would still them.
        kinds = [[p for w, p in chosen if (w.role == "scale") is scale] for scale in (False, True)]
        self._groups = [group for group in [*kinds, list(extra)] if group]
        self._named = [*((w.name, p) for w, p in chosen), *(("a parameter of the loss", p) for p in extra)]
        self._optimizer = _optimizer(name, self._groups)
        self.factor, self.culprit, self.reached = 1.0, "", False

    @property
    def sparse(self) -> int:
        """Weight tensors whose zeros are kept."""
        return len(self._masks)

    def step(self, backward: Callable[[], None], rate: float) -> bool:
        """Call `backward`, which leaves gradients, and take one step at `rate`.

        Returns:
            False where a gradient was not finite, and nothing moved.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = rate * self.factor
        self._optimizer.zero_grad(set_to_none=True)
        backward()
        self.reached = any(p.grad is not None for _, p in self._chosen)
        self._world.sum_gradients([p for _, p in self._named])
        norms = [torch.nn.utils.clip_grad_norm_(group, CLIP) for group in self._groups]
        if not all(bool(torch.isfinite(norm)) for norm in norms):
            self.culprit = next((n for n, p in self._named if not _finite(p.grad)), "")
            self.factor /= 2
            return False
        self._optimizer.step()
        for parameter, mask in self._masks:
            parameter.data.mul_(mask)
        return True

    def state(self) -> dict[str, Any]:
        """What a later run needs to go on."""
        return {"optimizer": self._optimizer.state_dict(), "factor": self.factor, "culprit": self.culprit}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.factor, self.culprit = state["factor"], state["culprit"]


class Average:
    """The exponential moving average of tensors: a' = d a + (1 - d) w, with d growing from 0.1 to `decay`.

    Args:
        tensors: What is averaged; floating-point.
        decay: d.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], decay: float) -> None:
        self._tensors, self._decay = list(tensors), decay
        self.values = [t.detach().clone() for t in tensors]
        self.count = 0

    def update(self) -> None:
        """Take the present tensors in."""
        self.count += 1
        decay = min(self._decay, self.count / (9 + self.count))
        for mean, now in zip(self.values, self._tensors, strict=True):
            if mean.is_floating_point():
                mean.lerp_(now.detach(), 1 - decay)
            else:
                mean.copy_(now)

    def swap(self) -> None:
        """Exchange averages and tensors; a second call puts them back."""
        for mean, now in zip(self.values, self._tensors, strict=True):
            kept = now.detach().clone()
            now.data.copy_(mean)
            mean.copy_(kept)


def _finite(gradient: torch.Tensor | None) -> bool:
    return gradient is None or bool(torch.isfinite(gradient).all())


def _optimizer(name: str, groups: list[list[torch.nn.Parameter]]) -> torch.optim.Optimizer:
    parameters = [{"params": group} for group in groups]
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=0.0, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(parameters, lr=0.0, betas=(0.9, 0.999), weight_decay=0.0)


def _is_sparse(weight: Weight, parameter: torch.nn.Parameter) -> bool:
    """True where zeros were made on purpose; a coarse grid has many by rounding, and about as many next to them."""
    numbers = parameter.detach()
    if numbers.ndim < 2:
        return False
    share = float((numbers == 0).float().mean())
    if not _SPARSE <= share < 1.0 or weight.grid is None:
        return _SPARSE <= share < 1.0
    step = torch.as_tensor(weight.grid.scale).to(numbers)
    beside = float(((numbers.abs() / step).round() == 1).float().mean()) / 2
    return share > _LONELY * beside
