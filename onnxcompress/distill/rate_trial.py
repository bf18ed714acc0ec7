"""The peak learning rate by trial: the largest of some whose short cycle does not throw the student back.

The lowest loss after a few steps would favour rates that are too small for the whole run (ADR 10).
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.batches import Run
from onnxcompress.distill.comparison import is_quantized
from onnxcompress.distill.schedule import SENSITIVE, Pace, default_rate
from onnxcompress.distill.trainer import Trainer

# As factors on the default of the student's kind.
_TRIALS = (3.0, 1.0, 0.3, 0.1)
_STEPS = 24
_LEAST_STEPS = 4
# A loss that much above the start is brought down by a longer cycle.
_RISE = 1.05
SHARE = 1 / 12
"""One trial's part of the training."""


def find_rate(trainer: Trainer, student: ir.Model, probe: list[Run], part: Pace) -> float:
    """The rate for `trainer`.

    Args:
        trainer: Takes the trial steps; it is as before afterwards.
        student: What is trained.
        probe: Samples on which the loss is seen.
        part: How long one trial may take.
    """
    sensitive = any(node.op_type in SENSITIVE for node in graph.iter_nodes(student))
    hints = "hints" in trainer.objective.weights
    base = default_rate(quantized=is_quantized(student), sensitive=sensitive, hints=hints)
    steps = _STEPS if part.steps is None else min(_STEPS, max(_LEAST_STEPS, part.steps))
    pace, start = Pace(steps, part.seconds), trainer.probe_loss(probe)
    rates = [base * factor for factor in _TRIALS]
    return next((r for r in rates if trainer.loss_after(pace, r, probe) < _RISE * start), rates[-1])
