"""The training loop: AdamW, one cycle, clipped gradients, the best weights kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch

from onnxcompress.distill.batches import Batches, Run
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distributed import World
from onnxcompress.distill.losses.base import Sample
from onnxcompress.distill.measure import Closeness, Examiner
from onnxcompress.distill.objective import Objective
from onnxcompress.distill.schedule import one_cycle
from onnxcompress.distill.teacher import Teacher
from onnxcompress.distill.weights import Weight

CLIP = 5.0
# A weight tensor with at least this share of exact zeros was pruned on purpose: the zeros stay.
_SPARSE = 0.2
# Steps that may fail in a row before training gives up.
_PATIENCE = 10


@dataclass
class Training:
    """What one training run did.

    Attributes:
        best: Closeness of the weights that were kept.
        steps: Steps taken.
        skipped: Steps left out because a gradient was not finite.
        culprit: Name of the first weight whose gradient was not finite.
    """

    best: Closeness
    steps: int = 0
    skipped: int = 0
    culprit: str = ""


@dataclass
class Trainer:
    """Trains one bridge.

    Attributes:
        bridge: The student.
        teacher: Gives the objective's tensors.
        objective: What is made small.
        batches: Where samples come from.
        chosen: The weights that move.
        follow: Batch normalization follows the batches' statistics.
        world: The processes that train together.
        optimizer: ``adamw`` or ``sgd``.
    """

    bridge: Bridge
    teacher: Teacher
    objective: Objective
    batches: Batches
    chosen: list[tuple[Weight, torch.nn.Parameter]]
    follow: bool = False
    world: World = field(default_factory=World)
    optimizer: str = "adamw"
    _masks: list[tuple[torch.nn.Parameter, torch.Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._masks = [(p, p.detach() != 0) for _, p in self.chosen if _is_sparse(p)]

    @property
    def sparse(self) -> int:
        """Weight tensors whose zeros are kept."""
        return len(self._masks)

    def train(
        self, steps: int, rate: float, examiner: Examiner, *, every: int, told: Callable[[int], None] | None = None
    ) -> Training:
        """Take `steps` steps at peak rate `rate` and leave the best weights in the bridge.

        Args:
            steps: How many.
            rate: Peak learning rate.
            examiner: Measures every `every` steps.
            every: Steps between two measurements.
            told: Called with the number of steps taken.
        """
        result = Training(examiner.measure(self.bridge))
        best, failed = snapshot(self.bridge), 0
        for step, ok in enumerate(self._steps(steps, rate, result), start=1):
            failed = 0 if ok else failed + 1
            result.steps = step
            if told is not None:
                told(step)
            if step % every == 0 or step == steps:
                now = examiner.measure(self.bridge)
                if now.better_than(result.best):
                    result.best, best = now, snapshot(self.bridge)
            if failed >= _PATIENCE:
                break
        restore(self.bridge, best)
        return result

    def loss_after(self, steps: int, rate: float, probe: list[Run]) -> float:
        """The objective on `probe` after one short cycle; the weights are put back."""
        before, learned = snapshot(self.bridge), [p.detach().clone() for p in self.objective.parameters()]
        for _ in self._steps(steps, rate, Training(Closeness(None, 0.0))):
            pass
        value = self.probe_loss(probe)
        restore(self.bridge, before)
        with torch.no_grad():
            for parameter, old in zip(self.objective.parameters(), learned, strict=True):
                parameter.copy_(old)
        return value

    def probe_loss(self, probe: list[Run]) -> float:
        """The objective on some runs, without training."""
        with torch.no_grad():
            return sum(run.share * float(self._loss(run, training=False)) for run in probe)

    def set_units(self, probe: list[Run]) -> dict[str, float]:
        """Count every term in units of its present value on `probe`; the values."""
        totals: dict[str, float] = {}
        with torch.no_grad():
            samples = [self._sample(run, training=False) for run in probe]
            self.objective.prepare(samples)
            for run, sample in zip(probe, samples, strict=True):
                for name, value in self.objective.terms(sample).items():
                    totals[name] = totals.get(name, 0.0) + run.share * float(value)
        self.objective.first.update(totals)
        return totals

    def _steps(self, steps: int, rate: float, result: Training) -> Iterator[bool]:
        learned = self.objective.parameters()
        parameters = [*(p for _, p in self.chosen), *learned]
        groups = [[p for w, p in self.chosen if (w.role == "scale") is scale] for scale in (False, True)]
        groups.append(learned)
        optimizer = _optimizer(self.optimizer, [group for group in groups if group], rate)
        for step, runs in zip(range(steps), self.batches, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = rate * one_cycle(step, steps)
            optimizer.zero_grad(set_to_none=True)
            self._backward(runs)
            self.world.sum_gradients(parameters)
            culprit = self._not_finite()
            if culprit:
                result.skipped, result.culprit = result.skipped + 1, result.culprit or culprit
            else:
                # A scale gathers the gradients of a whole tensor: clipped together, it would still the weights.
                for group in optimizer.param_groups:
                    torch.nn.utils.clip_grad_norm_(group["params"], CLIP)
                optimizer.step()
                self._keep_zeros()
            yield not culprit
        if self.follow:
            self.world.average(
                t for w, t in zip(self.bridge.weights, self.bridge.parameters, strict=True) if w.role == "state"
            )

    def _backward(self, runs: Iterable[Run]) -> None:
        for run in runs:
            loss = self._loss(run, training=self.follow) * run.share
            loss.backward()

    def _loss(self, run: Run, *, training: bool) -> torch.Tensor:
        return self.objective.value(self._sample(run, training=training))

    def _sample(self, run: Run, *, training: bool) -> Sample:
        return Sample(self._student(run, training=training), self.teacher.tensors(run.feeds), run.labels)

    def _student(self, run: Run, *, training: bool) -> dict[str, torch.Tensor]:
        module = self.bridge.specialise(run.feeds, self.objective.names, training=training)
        return module.run(run.feeds)

    def _not_finite(self) -> str:
        """Name of a weight whose gradient is not finite; empty where all are."""
        for weight, parameter in self.chosen:
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return weight.name
        grads = (p.grad for p in self.objective.parameters() if p.grad is not None)
        return "" if all(bool(torch.isfinite(grad).all()) for grad in grads) else "a learned part of the loss"

    def _keep_zeros(self) -> None:
        for parameter, mask in self._masks:
            parameter.data.mul_(mask)


def _optimizer(name: str, groups: list[list[torch.nn.Parameter]], rate: float) -> torch.optim.Optimizer:
    parameters = [{"params": group} for group in groups]
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.999), weight_decay=0.0)


def _is_sparse(parameter: torch.nn.Parameter) -> bool:
    if parameter.ndim < 2:
        return False
    share = float((parameter.detach() == 0).float().mean())
    return _SPARSE <= share < 1.0


def snapshot(bridge: Bridge) -> list[torch.Tensor]:
    """Copies of the bridge's tensors."""
    return [tensor.detach().clone() for tensor in bridge.parameters]


def restore(bridge: Bridge, saved: list[torch.Tensor]) -> None:
    """Put copies back."""
    with torch.no_grad():
        for tensor, old in zip(bridge.parameters, saved, strict=True):
            tensor.copy_(old)
