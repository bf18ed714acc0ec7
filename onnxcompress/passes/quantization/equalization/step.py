"""Equalization before anything is calibrated: kept where the model, quantized with it, is nearer to the float one.

With one weight scale for all channels of a layer it decides what int8 is worth (depthwise layers above all), so that
the default effort tries it: both methods, through ReLU6 too, which is exact only while the values stay below the cap;
the judge compares with the model as it was. With a scale for each channel it gains little and sometimes loses: tried at
the best effort only, and between layers only.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxcompress.graph import clone
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.equalization.equalize import equalize
from onnxcompress.passes.quantization.judge import Judge
from onnxcompress.passes.quantization.mending import attempt
from onnxcompress.passes.quantization.ranges import Rule
from onnxcompress.report import Finding


def equalized(draft: Draft, rule: Rule, judge: Judge) -> Iterator[Finding]:
    """Equalize the draft's model, if the judge finds it better for that.

    Args:
        draft: Placed, not yet calibrated.
        rule: How ranges are chosen in both trials.
        judge: Holds the outputs of the model as it is.
    """
    fine = draft.options.per_channel and draft.ctx.target.per_channel
    if judge.blind or not draft.plan.linear or (fine and draft.options.effort != "best"):
        return
    method = "cross-layer" if fine else "auto"

    def step(model: ir.Model) -> list[Finding]:
        return equalize(model, draft.calibration, draft.ctx, method=method, caps=not fine, per_channel=fine)

    def written(model: ir.Model) -> ir.Model:
        trial = Draft.begin(clone(model), draft.ctx, draft.options)
        trial.calibrate(rule)
        trial.write()
        return trial.model

    model = clone(draft.model)
    before = judge.look_at(written(draft.model))
    _, findings = attempt("equalization", step, model, judge, before, written=written)
    if findings[-1].numbers["kept"]:
        draft.replace(model.graph)
    yield from findings
