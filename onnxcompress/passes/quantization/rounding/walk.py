"""The walk that bias correction and second-order rounding share: two streams, layer by layer, judged as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress.graph import in_scope, label
from onnxcompress.passes.quantization.rounding.journal import Journal
from onnxcompress.passes.quantization.rounding.judging import Judge, refusal
from onnxcompress.passes.quantization.rounding.twins import Twins, layers_of, named_teacher, runs_of
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.data import DataSource
    from onnxcompress.passes.base import Context


@dataclass(frozen=True)
class Way:
    """What a walk goes along.

    Attributes:
        layers: The layers in scope, in order.
        teacher: The float model under the student's tensor names.
        twins: Both streams.
        journal: Remembers the edits.
        runs: How many runs the samples make.
    """

    layers: list[Linear]
    teacher: ir.Model
    twins: Twins
    journal: Journal
    runs: int


def walk(
    model: ir.Model,
    teacher: ir.Model,
    samples: DataSource,
    ctx: Context,
    prefix: str,
    each: Callable[[Way], Iterator[Finding]],
) -> list[Finding]:
    """Let `each` edit the layers of `model`, and undo the whole where the outputs did not come closer.

    Args:
        model: The quantized model.
        teacher: The float model; tensors are matched by name.
        samples: What to run.
        ctx: Scope, runtime, memory ceiling.
        prefix: Of the codes of the findings.
        each: Walks the layers and yields a finding for each.

    Raises:
        ModelError: Where the teacher is quantized itself or takes other inputs.
    """
    layers = layers_of(model)
    missing = refusal(layers, samples, prefix)
    if missing is not None:
        return [missing]
    named, runs, journal = named_teacher(model, teacher), runs_of(model, samples), Journal(model)
    judge = Judge(model, named, runs, ctx)
    chosen = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    wanted = [layer for layer in layers if isinstance(layer, Linear) and label(layer.node) in chosen]
    twins = Twins(model, named, wanted, runs, ctx)
    try:
        found = list(each(Way(wanted, named, twins, journal, len(runs))))
    finally:
        twins.close()
    return [*found, judge.verdict(journal, prefix)]
