"""How long a layer takes: the median of a few runs less that of a run of nothing, each layer of equal shape once."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.latency.layers import Layer
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

RUNS = 7
"""Timed runs of one layer."""

LONGEST = 0.05
"""Seconds after which no further run of one layer is timed."""


@dataclass
class Stopwatch:
    """Measured seconds, by the layer's key.

    Attributes:
        options: Providers and threads.
        seconds: What was measured so far.
    """

    options: RuntimeOptions
    seconds: dict[tuple[object, ...], float] = field(default_factory=dict[tuple[object, ...], float])

    def of(self, layer: Layer) -> float:
        """Median seconds of one run of `layer`, without what calling a session takes."""
        if layer.key not in self.seconds:
            self.seconds[layer.key] = max(self._measured(layer) - self._call(), _LEAST)
        return self.seconds[layer.key]

    def _call(self) -> float:
        if _NOTHING not in self.seconds:
            self.seconds[_NOTHING] = self._measured(_nothing())
        return self.seconds[_NOTHING]

    def _measured(self, layer: Layer) -> float:
        session = Session(layer.model, self.options)
        session.run(layer.feeds)
        taken: list[float] = []
        while len(taken) < 3 or (len(taken) < RUNS and sum(taken) < LONGEST):
            start = time.perf_counter()
            session.run(layer.feeds)
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)


_NOTHING = ("nothing",)
_LEAST = 1e-7


def _nothing() -> Layer:
    """A model that only copies one number."""
    one = np.zeros(1, np.float32)
    given = ir.Value(name="i", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.Node("", "Identity", [given], outputs=[ir.Value(name="o", type=ir.TensorType(ir.DataType.FLOAT))])
    graph = ir.Graph([given], list(node.outputs), nodes=[node], opset_imports={"": 17}, name="nothing")
    return Layer(ir.Model(graph, ir_version=9), {"i": one}, _NOTHING)
