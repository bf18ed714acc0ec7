"""Islands: the few tensors that stay float because in int8 they alone change the output far more than the others do.

Enable-one sensitivity: with everything else float, quantize one tensor and the weights it meets, and take the relative
L2 change of the outputs over a few unlabelled samples,

    s_t = sqrt( mean over outputs of ||y_t - y||^2 / ||y||^2 )

No labels, no clock: the number of tensors tried is bounded, and where there are more, those whose own grid has the
worst signal-to-noise ratio (known from the histogram) are tried. Automatically a tensor becomes an island where it
stands out (`_FACTOR` times the median) and matters (`_LEAST` of the output), as long as the multiplications that
return to float with it stay below `_MOST_WORK` of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.data import DataSource
from onnxcompress.graph import label
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.placement.plan import Plan, Request
from onnxcompress.passes.quantization.scales import Grid
from onnxcompress.passes.quantization.sensitivity.probe import Probe
from onnxcompress.passes.quantization.sensitivity.snr import signal_to_noise
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

_FACTOR = 8.0
_LEAST = 0.1
_MOST_WORK = 0.2
_SAMPLES = 8


@dataclass(frozen=True)
class Material:
    """What sensitivity is measured with.

    Attributes:
        model: The float model; it is not edited.
        grids: By the tensor that leads a group.
        found: Histograms by the same names.
        samples: Calibration samples, of which a few are used.
        ctx: Runtime and progress.
    """

    model: ir.Model
    grids: Mapping[str, Grid]
    found: Mapping[str, FloatHistogram]
    samples: DataSource
    ctx: Context


@dataclass(frozen=True)
class Islands:
    """The outcome.

    Attributes:
        tensors: Tensors that stay float, all members of a shared scale among them.
        sensitivity: Relative L2 change of the outputs by tensor, for those tried.
        findings: What was found, for the report.
    """

    tensors: tuple[str, ...] = ()
    sensitivity: Mapping[str, float] = field(default_factory=dict[str, float])
    findings: tuple[Finding, ...] = ()


def find_islands(request: Request, plan: Plan, material: Material, count: int | None, evaluations: int) -> Islands:
    """The tensors of `plan` that stay float.

    Args:
        request: What `plan` answers.
        plan: The placement with every tensor in int8.
        material: Model, grids and samples.
        count: How many tensors; None decides by what stands out.
        evaluations: Most tensors tried.
    """
    groups = plan.members()
    grids, found, ctx = material.grids, material.found, material.ctx
    tried = sorted(groups, key=lambda root: signal_to_noise(found[root], grids[root]))[:evaluations]
    samples = material.samples.subset(_few(len(material.samples)))
    probe = Probe(material.model, plan, grids, tried, ctx, samples)
    if probe.blind:
        return Islands()
    sensitivity: dict[str, float] = {}
    for done, root in enumerate(tried):
        sensitivity[root] = probe.change([root])
        ctx.progress("sensitivity", done + 1, len(tried))
    worst = sorted(sensitivity, key=lambda name: (-sensitivity[name], name))
    chosen = worst[:count]
    if count is None:
        chosen = _affordable(_outstanding(worst, sensitivity), groups, request, plan)
    names = tuple(name for root in chosen for name in groups[root])
    return Islands(names, sensitivity, tuple(_findings(chosen, sensitivity)))


def _few(samples: int) -> np.ndarray:
    return np.linspace(0, samples - 1, min(samples, _SAMPLES)).round().astype(np.int64)


def _outstanding(worst: list[str], sensitivity: Mapping[str, float]) -> list[str]:
    usual = float(np.median(list(sensitivity.values())))
    return [n for n in worst if sensitivity[n] >= max(_LEAST, _FACTOR * usual)]


def _affordable(worst: list[str], groups: Mapping[str, list[str]], request: Request, plan: Plan) -> list[str]:
    """The worst ones, as long as what stays in int8 is most of the work."""
    work = _work(plan, request.macs)
    chosen: list[str] = []
    for root in worst:
        names = [name for kept in (*chosen, root) for name in groups[kept]]
        if _work(place(replace(request, islands=names)), request.macs) >= (1 - _MOST_WORK) * work:
            chosen.append(root)
    return chosen


def _work(plan: Plan, macs: Mapping[str, int]) -> int:
    return sum(macs.get(label(linear.node), 1) for linear in plan.linear)


def _findings(chosen: list[str], sensitivity: Mapping[str, float]) -> list[Finding]:
    usual = float(np.median(list(sensitivity.values()))) if sensitivity else 0.0
    return [
        Finding(
            "QUANT-ISLAND-TENSOR",
            f"stays float: alone in int8 it changes the outputs by {sensitivity[name]:.3f} (relative L2), "
            f"where the usual tensor changes them by {usual:.3f}",
            node=name,
            numbers={"sensitivity": round(sensitivity[name], 6), "median": round(usual, 6)},
        )
        for name in chosen
    ]
