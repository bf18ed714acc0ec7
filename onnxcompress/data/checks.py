"""`check_data`: does a source feed the model, and do its numbers look like what the model was trained on?

Everything is streamed; a float input is read once from end to end, because one NaN spoils a calibration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.data.fit import fits, misfit
from onnxcompress.data.inputs import InputSpec, input_specs
from onnxcompress.data.pixel_scale import looks_like_pixels, scale_fault
from onnxcompress.data.source import DataSource
from onnxcompress.errors import DataError
from onnxcompress.graph import tensor_of
from onnxcompress.report.records import Finding, Severity
from onnxcompress.runtime_options import RuntimeOptions

_CHUNK_BYTES = 1 << 25


@dataclass
class _Range:
    low: float = np.inf
    high: float = -np.inf
    whole: bool = True  # every value seen is a whole number

    def add(self, array: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        self.whole = self.whole and bool((array == np.rint(array)).all())


def check_data(source: DataSource, model: ir.Model, options: RuntimeOptions | None = None) -> list[Finding]:
    """Warnings about data that fits the model's inputs; data that does not fit is refused.

    Args:
        source: The samples.
        model: The model that they are for.
        options: How ONNX Runtime runs its first layers, where the samples look like raw pixels.

    Returns:
        Findings ``DATA-RAW-PIXELS`` (0..255 where the first layers were trained on a smaller input, or whole numbers
        where they cannot tell), ``DATA-CONSTANT`` and ``DATA-RANDOM`` (samples that are made up).

    Raises:
        DataError: A missing input, another dtype, rank or size, NaN or infinity, ids beyond an embedding table,
            or no samples.
    """
    specs = {spec.name: spec for spec in input_specs(model)}
    if len(source) == 0:
        raise DataError("the data holds 0 samples", hint="Give at least one.", code="DATA-EMPTY")
    _check_names(source, specs)
    limits = _id_limits(model)
    ranges = {name: _Range() for name in specs}
    for start, batch in _stream(source):
        for name, spec in specs.items():
            array = batch[name]
            _check_array(array, spec, source.origin(start))
            _check_values(source, array, name, start, limits.get(name))
            if array.size and array.dtype.kind in "fiub":
                ranges[name].add(array)
    found = [_made_up()] if source.synthetic else []
    found += [finding for name, seen in ranges.items() for finding in _judge(name, seen, specs[name], len(source))]
    for name, seen in ranges.items():
        if specs[name].dtype.kind == "f" and looks_like_pixels(seen.low, seen.high, len(specs[name].sample_dims or ())):
            found += _raw_pixels(name, seen, scale_fault(model, name, source, options))
    return found


def remarks(*sources: DataSource | None, model: ir.Model, options: RuntimeOptions | None = None) -> list[str]:
    """What `check_data` says about each source that is there, as sentences for a report.

    Raises:
        DataError: As `check_data`.
    """
    findings = (finding for source in sources if source is not None for finding in check_data(source, model, options))
    return list(dict.fromkeys(finding.message for finding in findings))


def _stream(source: DataSource) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    first = source.read(np.arange(1))
    size = max(1, _CHUNK_BYTES // max(1, sum(array.nbytes for array in first.values())))
    start = 0
    for batch in source.batches(size):
        yield start, batch
        start += len(next(iter(batch.values())))


def _check_names(source: DataSource, specs: dict[str, InputSpec]) -> None:
    missing = [spec for name, spec in specs.items() if name not in source.names]
    extra = [name for name in source.names if name not in specs]
    if not missing and not extra:
        return
    raise DataError(
        "the data does not feed the model's inputs",
        where=f"input {missing[0]}" if missing else f"key {extra[0]!r}",
        why=f"the data has {', '.join(source.names)}, and the model takes {', '.join(specs)}",
        hint="Use the model's input names, or --map INPUT=KEY. States and caches must be given too.",
        code="DATA-MISSING-INPUT" if missing else "DATA-UNKNOWN-INPUT",
    )


def _check_array(array: np.ndarray, spec: InputSpec, start: int) -> None:
    if array.dtype != spec.dtype:
        raise DataError(
            "the data does not fit the model",
            where=f"input {spec}",
            why=f"the data is {array.dtype}",
            hint=f"Convert it to {spec.dtype}.",
            code="DATA-DTYPE",
        )
    readings = (spec.sample_dims, spec.dims, spec.dims[1:] if spec.dims else None)  # the runtime takes all three
    if not any(fits(array.shape[1:], dims) for dims in readings if dims is not None or spec.dims is None):
        raise misfit(array.shape[1:], spec, f"sample {start}")


def _check_values(source: DataSource, array: np.ndarray, name: str, start: int, limit: int | None) -> None:
    if array.dtype.kind not in "fiu" and not array.dtype.name.startswith(("bfloat", "float")):
        return
    if array.dtype.kind not in "iu":
        broken = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        why = "it holds NaN or infinity"
        hint = "Repair or leave out that sample; one such value spoils every range and every fit."
        code = "DATA-NAN"
    elif limit is not None:
        broken = ((array < -limit) | (array >= limit)).reshape(len(array), -1).any(axis=1)
        why = f"it holds ids up to {array.max()}, and the model's table has {limit} rows"
        hint = "Use the vocabulary that the model was trained with."
        code = "DATA-ID-RANGE"
    else:
        return
    if broken.any():
        place = f"sample {source.origin(start + int(np.argmax(broken)))} of input {name!r}"
        raise DataError("the data cannot be used", where=place, why=why, hint=hint, code=code)


def _id_limits(model: ir.Model) -> dict[str, int]:
    """Number of table rows for each integer input that a Gather uses as it is."""
    limits: dict[str, int] = {}
    for value in model.graph.inputs:
        for node, position in value.uses():
            if node.op_type != "Gather" or node.domain not in ("", "ai.onnx") or position != 1:
                continue
            table, axis = tensor_of(node.inputs[0]), node.attributes.get("axis")
            if table is not None and value.name:
                rows = int(table.numpy().shape[axis.as_int() if axis is not None else 0])
                limits[value.name] = min(rows, limits.get(value.name, rows))
    return limits


def _made_up() -> Finding:
    message = "the samples are random numbers: the command runs, and nothing measured on them means anything"
    return Finding("DATA-RANDOM", message, severity=Severity.WARNING)


def _judge(name: str, seen: _Range, spec: InputSpec, samples: int) -> Iterator[Finding]:
    if spec.dtype.kind in "iub" or spec.dtype.hasobject or seen.low > seen.high:
        return
    if seen.low == seen.high and samples > 1 and spec.batch_axis is not None:
        yield Finding(
            "DATA-CONSTANT",
            f"input {name!r} is {seen.low + 0.0:g} everywhere in all {samples} samples; "
            "ranges measured from it mean little",
            node=name,
            severity=Severity.WARNING,
            numbers={"low": seen.low, "high": seen.high},
        )


def _raw_pixels(name: str, seen: _Range, told: str | None) -> Iterator[Finding]:
    """A warning where the first layers say so, or where they say nothing and every value is whole."""
    cure = "give --preset, or --scale 1/255 with --mean and --std"
    span = f"{seen.low:g} to {seen.high:g}"
    numbers: dict[str, float | int | str] = {"low": seen.low, "high": seen.high}
    if told:
        message = f"input {name!r} gets {span}, which look like raw pixels, and {told}: {cure}, as it was trained"
    elif told is None and seen.whole and seen.low >= 0 and seen.high <= 255 and seen.low < seen.high:
        message = f"input {name!r} gets whole numbers {span}, which look like raw pixels; if the model was trained on "
        message += f"normalised ones, {cure}"
    else:
        return
    yield Finding("DATA-RAW-PIXELS", message, node=name, severity=Severity.WARNING, numbers=numbers)
