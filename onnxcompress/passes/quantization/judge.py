"""The judge: a few unlabelled samples that set no range, and how far a model's outputs are on them.

What it finds is no measurement: it has chosen between steps. The report's quality comes from other samples, which only
a quality gate's search (`fallback`) may look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.passes.quantization.sensitivity.error import Reference
from onnxcompress.runtime import Session, feeds_of, one_thread, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.verify.numbers import is_numeric
from onnxcompress.verify.producers import comparable

_BATCH = 8


@dataclass(frozen=True)
class Verdict:
    """How far a model's outputs are from the float model's.

    Attributes:
        error: Squared relative error (see `error.Reference`).
        agreement: Share of samples whose largest output stays the same one; 1 where no output is [samples, classes].
    """

    error: float
    agreement: float

    @property
    def decibels(self) -> float:
        """The error as a signal-to-noise ratio."""
        return float(-10 * np.log10(max(self.error, 1e-20)))

    def better_than(self, other: Verdict) -> bool:
        """A smaller error that does not cost a class."""
        return self.error < other.error and self.agreement >= other.agreement - 1e-9


class Judge:
    """Compares models with the float one.

    Args:
        model: The float model; its outputs are taken at once, it may be edited afterwards.
        samples: What it judges on.
        options: Runtime options; one thread all the same, so that the numbers are those of every machine.
        unseen: Whether the samples took no part in the calibration.
    """

    def __init__(self, model: ir.Model, samples: DataSource, options: RuntimeOptions, *, unseen: bool) -> None:
        self._options = options = one_thread(options)
        part, _ = runnable_part(model, options)
        names = comparable(part)
        runs = list(feeds_of(part, samples, batch=_BATCH))
        self._feeds = [feeds.arrays for feeds in runs]
        session = Session(part, options, taps=names)
        first = session.run(self._feeds[0], names) if names else {}
        self._names = [name for name in names if is_tensor(first[name]) and is_numeric(first[name])]
        self._reference = Reference(self._runs(session), [len(feeds.indices) for feeds in runs])
        self.samples, self.unseen = len(samples), unseen

    @property
    def blind(self) -> bool:
        """True where the model has no float tensor to compare at."""
        return not self._names

    @property
    def ranks(self) -> bool:
        """Whether an output is [samples, classes], so that its largest entry means something."""
        return self._reference.ranks

    def look_at(self, model: ir.Model) -> Verdict:
        """The verdict on a model with the same inputs and tensors."""
        part, _ = runnable_part(model, self._options)
        runs = self._runs(Session(part, self._options, taps=self._names))
        return Verdict(self._reference.error(runs), self._reference.agreement(runs))

    def _runs(self, session: Session) -> Sequence[Sequence[np.ndarray]]:
        if not self._names:
            return []
        found = (session.run(feeds, self._names) for feeds in self._feeds)
        return [[run[name].astype(np.float64) for name in self._names] for run in found]
