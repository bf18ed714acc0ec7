"""What refuses work that cannot be done, and what undoes work that did not help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress.passes.quantization.rounding.journal import Journal
from onnxcompress.passes.quantization.rounding.twins import is_quantized, judges
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.output_error import output_error
from onnxcompress.passes.reconstruction.stream import Run
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import one_thread

if TYPE_CHECKING:
    from onnxcompress.data import DataSource
    from onnxcompress.passes.base import Context


def refusal(layers: Sequence[object], samples: DataSource, prefix: str) -> Finding | None:
    """Why nothing can be done, if so: no quantized weight, or too few samples to judge by."""
    if not any(isinstance(layer, Linear) and is_quantized(layer) for layer in layers):
        message = "nothing changed: no multiplying node has its weight stored as integers"
        return Finding(f"{prefix}-NOTHING", message, severity=Severity.WARNING)
    if len(samples) < 2:
        message = "nothing changed: at least two samples are needed, one to fit and one to judge"
        return Finding(f"{prefix}-TOO-FEW", message, severity=Severity.WARNING)
    return None


class Judge:
    """Compares the model with its teacher on the batches that judge, before and after.

    Args:
        model: The student, as yet unedited.
        teacher: The float model.
        runs: All batches.
        ctx: How ONNX Runtime is used.
    """

    def __init__(self, model: ir.Model, teacher: ir.Model, runs: Sequence[Run], ctx: Context) -> None:
        self._models, self._options = (model, teacher), one_thread(ctx.runtime)
        self._runs = [feeds for run, feeds in enumerate(runs) if judges(run, len(runs))]
        self._before = self._error()

    def verdict(self, journal: Journal, prefix: str) -> Finding:
        """Keep the edits, or undo them where the outputs did not come closer to the teacher's."""
        if not journal:
            return Finding(f"{prefix}-UNCHANGED", "no layer gained, so nothing changed")
        now = self._error()
        numbers = {"output_error_before": self._before, "output_error_after": now}
        if now <= self._before:
            journal.settle()
            return Finding(f"{prefix}-DONE", "the outputs came closer to the teacher's", numbers=numbers)
        journal.undo()
        message = "undone: the outputs were farther from the teacher's than before"
        return Finding(f"{prefix}-UNDONE", message, severity=Severity.WARNING, numbers=numbers)

    def _error(self) -> float:
        return output_error(*self._models, self._runs, self._options)
