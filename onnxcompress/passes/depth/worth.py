"""What a branch is worth: its share of the stream's variance, and what the outputs lose without it.

For y = u + b and samples n, with the mean of b over samples and positions taken off channel by channel,

    share(b) = sum |b - mean(b)|^2 / sum |y - mean(y)|^2,

the error that the stream suffers where b becomes its mean (the end of a reconstruction curve, nothing kept). It costs
one run for all branches. The few cheapest are then taken out in turn, and what the model's outputs lose decides:
|s - t|^2 / |t|^2 over the float outputs, s without the branch, t the original. Compare block influence (Men et al.
2024, ShortGPT), which is the same idea with a cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.depth.branches import Branch
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime_options import RuntimeOptions

Feeds = Sequence[dict[str, np.ndarray]]


@dataclass
class Moments:
    """Sums of one tensor by channel, batch by batch.

    Attributes:
        count: Values a channel.
        total: Sum by channel, float64.
        square: Sum of squares by channel, float64.
    """

    count: int = 0
    total: np.ndarray = field(default_factory=lambda: np.zeros(1))
    square: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, array: np.ndarray, axis: int) -> None:
        """Count a batch in; `axis` holds the channels."""
        wide = np.moveaxis(array.astype(np.float64), axis, -1).reshape(-1, array.shape[axis])
        self.count += len(wide)
        self.total = self.total + wide.sum(axis=0)
        self.square = self.square + np.square(wide).sum(axis=0)

    @property
    def mean(self) -> np.ndarray:
        """Mean by channel."""
        return self.total / max(self.count, 1)

    @property
    def spread(self) -> float:
        """Sum over channels of the squared distance from the mean."""
        return float(np.maximum(self.square - self.count * self.mean**2, 0.0).sum())


@dataclass(frozen=True)
class Worth:
    """What one branch carries.

    Attributes:
        share: Its share of the stream's variance.
        mean: Its mean by channel, shape (channels,), float64.
    """

    share: float
    mean: np.ndarray


def worths(model: ir.Model, found: Sequence[Branch], feeds: Feeds, options: RuntimeOptions) -> list[Worth]:
    """The worth of every branch, from one run over `feeds`."""
    part, _ = runnable_part(model, options)
    made = {value.name for node in part.graph for value in node.outputs}
    names = [name for branch in found for value in (branch.value, branch.output) if (name := value.name or "") in made]
    session = Session(part, options, taps=list(dict.fromkeys(names)))
    sums = [(Moments(), Moments()) for _ in found]
    for batch in feeds:
        arrays = session.run(batch, names)
        for branch, (own, whole) in zip(found, sums, strict=True):
            for moments, value in ((own, branch.value), (whole, branch.output)):
                array = arrays.get(value.name or "")
                if array is not None and array.ndim:
                    moments.add(array, branch.channel_axis % array.ndim)
    return [Worth(own.spread / max(whole.spread, 1e-30), own.mean) for own, whole in sums]


class Judge:
    """What the outputs lose, against the original model.

    Args:
        original: What is imitated.
        feeds: Batches of inputs.
        options: Providers, threads, custom operators.
    """

    def __init__(self, original: ir.Model, feeds: Feeds, options: RuntimeOptions) -> None:
        self._feeds, self._options = feeds, options
        session = Session(runnable_part(original, options)[0], options)
        self._wanted = [_floats(session.run(batch)) for batch in feeds]

    def loss(self, candidate: ir.Model) -> float:
        """Mean over the float outputs of |s - t|^2 / |t|^2; infinite where the candidate gives no numbers."""
        session = Session(runnable_part(candidate, self._options)[0], self._options)
        off: dict[str, float] = {}
        power: dict[str, float] = {}
        for batch, wanted in zip(self._feeds, self._wanted, strict=True):
            got = session.run(batch)
            for name, t in wanted.items():
                s = np.asarray(got[name]).astype(np.float64)
                off[name] = off.get(name, 0.0) + float(np.square(s - t).sum())
                power[name] = power.get(name, 0.0) + float(np.square(t).sum())
        losses = [off[name] / max(power[name], 1e-30) for name in off]
        return float(np.mean(losses)) if losses and np.isfinite(losses).all() else float("inf")


def _floats(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: a.astype(np.float64) for n, a in outputs.items() if is_tensor(a) and a.dtype.kind == "f"}
