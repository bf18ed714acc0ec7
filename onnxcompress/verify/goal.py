"""A gate seen from inside a pass: what it counts, measured on samples that may steer the pass towards it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.errors import DataError
from onnxcompress.runtime import one_thread
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.verify.comparison import Comparison
from onnxcompress.verify.gate import Gate
from onnxcompress.verify.quality import Metric, compare


@dataclass(frozen=True)
class Reached:
    """How a model stands to the gate.

    Attributes:
        excess: How far each limit is missed, 0 where it is met; see `Gate.excess`.
        text: What was lost, in the gate's own terms.
    """

    excess: tuple[float, float]
    text: str

    @property
    def holds(self) -> bool:
        """True where every limit is met."""
        return not any(self.excess)


@dataclass(frozen=True)
class Goal:
    """What a pass may ask the gate before the gate is asked for good.

    Attributes:
        gate: The limits.
        reference: The model that the loss is counted from.
        samples: They steer.
        apart: True where the gate itself will look at other samples.
        metric: The user's own; left out where the steering samples have no labels, or
            too few of what it counts.
        options: Runtime options; one thread all the same, since the answer decides what is written.
    """

    gate: Gate
    reference: ir.Model
    samples: DataSource
    apart: bool = False
    metric: Metric | None = None
    options: RuntimeOptions | None = None

    def measure(self, model: ir.Model) -> Reached:
        """Hold `model` to the limits on the steering samples."""
        labelled = len(self.samples) > 0 and self.samples.labels(np.arange(1)) is not None
        try:
            found = self._compared(model, self.metric if labelled else None)
        except DataError as error:
            if error.code != "DATA-METRIC":
                raise
            found = self._compared(model, None)  # a few samples may hold none of what the metric counts
        return Reached(self.gate.excess(found), self._text(found))

    def _compared(self, model: ir.Model, metric: Metric | None) -> Comparison:
        options = one_thread(self.options or RuntimeOptions())
        return compare(self.reference, model, self.samples, options=options, metric=metric)

    @property
    def source(self) -> str:
        """Which samples steer, in words."""
        if self.apart:
            return f"{len(self.samples)} samples of --data, held out from calibration (the gate looks at --eval-data)"
        return f"{len(self.samples)} held-out samples of --data, on which the gate is judged too"

    def _text(self, found: Comparison) -> str:
        parts = [] if self.gate.max_drop is None else [self.gate.lost(found)]
        return ", ".join(parts if self.gate.min_sqnr is None else [*parts, f"SQNR {found.sqnr_db:.1f} dB"])
