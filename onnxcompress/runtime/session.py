"""One ONNX Runtime session over a model in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from onnxcompress.errors import ModelError, UsageError
from onnxcompress.graph import clone
from onnxcompress.runtime.faults import ORT_ERRORS, load_error, run_error
from onnxcompress.runtime.payload import payload
from onnxcompress.runtime_options import RuntimeOptions

_ORT_TYPES: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "bool": np.bool_,
    "string": np.object_,
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True)
class InputSpec:
    """What a session wants under one input name.

    Attributes:
        name: Input name.
        dtype: Numpy data type; None for sequences, maps and types that numpy has not.
        dims: An int for a fixed axis, a symbol (or an empty string) for a free one.
    """

    name: str
    dtype: np.dtype[Any] | None
    dims: tuple[int | str, ...]


class Session:
    """A model, loaded and ready to run.

    Args:
        model: The model; models above 2 GB lend their weights.
        options: Providers, threads, custom operators.
        optimize: True for all of ONNX Runtime's graph optimizations, False for none (the oracle).
        taps: Names of intermediate tensors of the main graph that are returned as extra outputs.
        spinning: Let idle threads spin; off, so that sessions side by side do not take each other's cores.

    Raises:
        ModelError: Where ONNX Runtime does not load the model, or a tap is unknown.
        UsageError: Where a provider or a custom-operator library is not available.
    """

    def __init__(
        self,
        model: ir.Model,
        options: RuntimeOptions | None = None,
        *,
        optimize: bool = True,
        taps: Sequence[str] = (),
        spinning: bool = False,
    ) -> None:
        options = options or RuntimeOptions()
        settings = session_settings(options, optimize, spinning)
        tapped = with_taps(model, taps)
        with payload(tapped) as given:
            self._lent = given.lent
            if given.lent:
                settings.add_external_initializers(*(list(part) for part in zip(*given.lent, strict=True)))
            try:
                self._ort = ort.InferenceSession(given.source, settings, providers=list(options.providers))
            except ORT_ERRORS as fault:
                raise load_error(fault) from fault
        self.inputs: list[InputSpec] = [_spec(given) for given in self._ort.get_inputs()]
        self.input_names: list[str] = [spec.name for spec in self.inputs]
        self.output_names: list[str] = [given.name for given in self._ort.get_outputs()]

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The named outputs (all by default) for one batch of inputs; sequences come as lists (see `is_tensor`).

        Raises:
            DataError: Where the inputs do not fit the model's.
            ModelError: Where a node fails.
        """
        names = list(outputs) if outputs is not None else self.output_names
        try:
            arrays = cast("list[np.ndarray]", self._run(names, feeds))
        except ORT_ERRORS as fault:
            raise run_error(fault) from fault
        return dict(zip(names, arrays, strict=True))

    def _run(self, names: list[str], feeds: Mapping[str, np.ndarray]) -> Sequence[Any]:
        """The plain call, or, for types that numpy itself lacks, the one that is told the type."""
        if all(np.asarray(array).dtype.kind != "V" for array in feeds.values()):
            return self._ort.run(names, dict(feeds))
        values = {name: _typed(np.ascontiguousarray(array)) for name, array in feeds.items()}
        return [value.numpy() for value in self._ort.run_with_ort_values(names, values)]


def _typed(array: np.ndarray) -> ort.OrtValue:
    kind = int(ir.DataType.from_numpy(array.dtype))
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, kind)


def is_tensor(value: object) -> bool:
    """False for what ONNX Runtime gives as a list: sequences, and optional outputs without a value."""
    return isinstance(value, np.ndarray)


def with_taps(model: ir.Model, taps: Sequence[str]) -> ir.Model:
    """The model, or a copy whose graph outputs also list the tensors named by `taps`.

    Raises:
        ModelError: Where the main graph has no tensor of that name.
    """
    missing = set(taps) - {value.name for value in model.graph.outputs}
    if not missing:
        return model
    copy = clone(model)
    values = main_values(copy)
    for name in taps:
        if name not in missing:
            continue
        if name not in values:
            why, hint = f"the main graph has no tensor {name!r}", "Name a tensor that a node of the main graph makes."
            raise ModelError("cannot tap the model", where=f"tensor {name}", why=why, hint=hint, code="MODEL-NO-TENSOR")
        copy.graph.outputs.append(values[name])
        missing.discard(name)
    return copy


def main_values(model: ir.Model) -> dict[str, ir.Value]:
    """Every named value of the main graph: inputs, initializers, node outputs."""
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    values += [output for node in model.graph for output in node.outputs]
    return {value.name: value for value in values if value.name}


def session_settings(options: RuntimeOptions, optimize: bool, spinning: bool) -> ort.SessionOptions:
    """ONNX Runtime's own options for a session.

    Raises:
        UsageError: Where a provider or a custom-operator library is not available.
    """
    unknown = set(options.providers) - set(ort.get_available_providers())
    if unknown:
        hint = f"This onnxruntime has: {', '.join(ort.get_available_providers())}."
        raise UsageError(f"provider {sorted(unknown)[0]!r} is not available", hint=hint, code="USAGE-PROVIDER")
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = options.threads
    level = ort.GraphOptimizationLevel
    settings.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "1" if spinning else "0")
    for library in options.custom_ops:
        try:
            settings.register_custom_ops_library(str(library))
        except ORT_ERRORS as fault:
            hint = "Give the path of a shared library built for this onnxruntime."
            what = f"cannot register the custom operators of {library}"
            raise UsageError(what, why=str(fault), hint=hint, code="USAGE-CUSTOM-OPS") from fault
    return settings


def _spec(given: Any) -> InputSpec:
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    dtype = np.dtype(_ORT_TYPES[kind]) if kind in _ORT_TYPES else None
    return InputSpec(given.name, dtype, tuple(d if isinstance(d, int) else (d or "") for d in given.shape))
