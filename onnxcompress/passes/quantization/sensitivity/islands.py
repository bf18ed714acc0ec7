"""Islands: the few tensors that stay float because in int8 they alone change the output far more than the others do.

Enable-one sensitivity: with everything else float, quantize one tensor and the weights it meets, and take the relative
L2 change of the outputs over a few unlabelled samples,

    s_t = sqrt( mean over outputs of ||y_t - y||^2 / ||y||^2 )

No labels, no clock: the number of tensors tried is bounded, and where there are more, those whose own grid has the
worst signal-to-noise ratio (known from the histogram) are tried. Automatically a tensor becomes an island where it
stands out (`_FACTOR` times the median) and matters (`_LEAST` of the output), at most `_SHARE` of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.data import DataSource
from onnxcompress.passes.quantization.plan import Plan
from onnxcompress.passes.quantization.scales import Grid
from onnxcompress.passes.quantization.sensitivity.probe import Probe
from onnxcompress.passes.quantization.sensitivity.snr import signal_to_noise
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

_FACTOR = 8.0
_LEAST = 0.1
_SHARE = 0.1
_SAMPLES = 16


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


def find_islands(
    model: ir.Model,
    plan: Plan,
    grids: Mapping[str, Grid],
    found: Mapping[str, FloatHistogram],
    ctx: Context,
    samples: DataSource,
    *,
    count: int | None = None,
    evaluations: int = 64,
) -> Islands:
    """The tensors of `plan` that stay float.

    Args:
        model: The float model; it is not edited.
        plan: The placement with every tensor in int8.
        grids: By the tensor that leads a group.
        found: Histograms by the same names.
        ctx: Target, runtime, progress.
        samples: Calibration samples, of which a few are used.
        count: How many tensors; None decides by what stands out.
        evaluations: Most tensors tried.
    """
    groups = plan.members()
    order = sorted(groups, key=lambda root: signal_to_noise(found[root], grids[root]))
    tried = order[:evaluations]
    probe = Probe(model, plan, grids, tried, ctx, samples.subset(_few(len(samples))))
    sensitivity: dict[str, float] = {}
    for done, root in enumerate(tried):
        sensitivity[root] = probe.change([root])
        ctx.progress("sensitivity", done + 1, len(tried))
    chosen = _choose(sensitivity, len(groups), count)
    names = tuple(name for root in chosen for name in groups[root])
    return Islands(names, sensitivity, tuple(_findings(chosen, sensitivity)))


def _few(samples: int) -> np.ndarray:
    return np.linspace(0, samples - 1, min(samples, _SAMPLES)).round().astype(np.int64)


def _choose(sensitivity: Mapping[str, float], tensors: int, count: int | None) -> list[str]:
    worst = sorted(sensitivity, key=lambda name: (-sensitivity[name], name))
    if count is not None:
        return worst[:count]
    usual = float(np.median(list(sensitivity.values())))
    most = max(1, int(tensors * _SHARE))
    return [n for n in worst[:most] if sensitivity[n] >= max(_LEAST, _FACTOR * usual)]


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
