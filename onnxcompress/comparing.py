"""Two models side by side: costs, how far their outputs are apart, and how long they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onnxcompress import model_io, verify
from onnxcompress.cost import costs
from onnxcompress.data import open_data
from onnxcompress.environment import environment
from onnxcompress.passes.base import Progress, silent
from onnxcompress.report import Report
from onnxcompress.runtime import batch_for
from onnxcompress.runtime import latency as time_models
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import infer, probe_feeds, sampled_shapes

if TYPE_CHECKING:
    import onnx_ir as ir


def compare(
    first: Any,
    second: Any,
    *,
    data: Any = None,
    metric: verify.Metric | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    runtime: RuntimeOptions | None = None,
    latency: bool = False,
    progress: Progress = silent,
) -> Report:
    """Measure `second` against `first`.

    Args:
        first: The reference: a path, an onnx.ModelProto or an onnx_ir.Model.
        second: The model to be judged.
        data: `DataOptions`, or anything that `onnxcompress.data.open_data` takes; all samples count.
        metric: ``f(outputs, labels) -> float``, higher is better.
        shapes: Sizes of dynamic inputs, by input name; without them those of the first sample.
        runtime: Providers, threads, custom operators.
        latency: Also time both.
        progress: Told how far the comparison is.

    Returns:
        A report without passes: costs before (`first`) and after (`second`), and quality where data was given.

    Raises:
        CompressError: A subclass, by cause.
    """
    from onnxcompress.api import DataOptions

    options = runtime or RuntimeOptions()
    models = model_io.load(first), model_io.load(second)
    samples = data.open(models[0])[0] if isinstance(data, DataOptions) else data
    source = None if samples is None else open_data(samples, models[0])
    if not shapes and source:
        shapes = sampled_shapes(models[0], source, options=options)
    tables = [costs(model, infer(model, shapes=shapes, runtime=options)).summary() for model in models]
    report = Report(before=tables[0], after=tables[1], environment=environment(options))
    report.fingerprints = {"input": model_io.fingerprint(models[0]), "output": model_io.fingerprint(models[1])}
    if latency:
        report.latency = measure_latency(*models, shapes=shapes, runtime=options)
    if source is None:
        report.notes.append("outputs NOT compared: give --data")
        return report
    found = verify.compare(*models, source, options=options, metric=metric, progress=progress)
    report.quality = found.to_dict()
    report.notes += [finding.message for finding in found.findings]
    return report


def measure_latency(
    before: ir.Model,
    after: ir.Model,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    runtime: RuntimeOptions | None = None,
) -> dict[str, Any]:
    """Time two models with one interface, side by side, on seeded inputs.

    Args:
        before: The reference.
        after: The other.
        shapes: Sizes of dynamic inputs, by input name.
        runtime: Providers, threads, custom operators.

    Returns:
        ``{"runs": [...]}`` with one entry at batch 1, and one at the batch at which the reference takes 10 ms where its
        batch is free: medians in milliseconds, the ratio, and the spread of an A/A run.
    """
    single = probe_feeds(before, shapes=shapes, batch=1, options=runtime)
    large = batch_for(before, single, options=runtime)
    grown = any(large[name].shape != array.shape for name, array in single.items())
    models = {"before": before, "after": after}
    runs = [time_models(models, feeds, options=runtime) for feeds in ([single, large] if grown else [single])]
    return {"runs": [run.to_dict() for run in runs]}
