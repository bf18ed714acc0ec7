"""Models of ONNX's own backend suite, which the onnx package carries, for conformance checks."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxcompress import model_io
from onnxcompress.errors import CompressError


class Trial(NamedTuple):
    """A model, what it is called, and the inputs to run it on."""

    name: str
    model: ir.Model
    feeds: dict[str, Any]


@functools.cache
def _collected() -> tuple[Any, ...]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return tuple(collect_testcases(None))  # pyright: ignore[reportArgumentType]  # None means every operator


def backend_trials(*, every: int = 1) -> Iterator[Trial]:
    """The suite's models that take tensors, inputs after the first turned into constants in every other one.

    Args:
        every: Yield only each `every`-th: a sample that is spread over all operators.
    """
    for number, case in enumerate(_collected()[::every]):
        try:
            model = model_io.load(case.model)
        except CompressError:  # what cannot be loaded is no matter of a pass
            continue
        names = [v.name or "" for v in model.graph.inputs]
        feeds = dict(zip(names, case.data_sets[0][0], strict=False))
        if not all(isinstance(array, np.ndarray) for array in feeds.values()):
            continue
        yield _constified(case.name, model, feeds) if number % 2 else Trial(case.name, model, feeds)


def _constified(name: str, model: ir.Model, feeds: dict[str, Any]) -> Trial:
    for value in list(model.graph.inputs)[1:] if model.ir_version >= 4 else []:
        if value.name in feeds and value.dtype is not None and not (value.dtype.is_string() or value.is_initializer()):
            value.const_value = ir.tensor(feeds.pop(value.name), dtype=value.dtype, name=value.name)
            model.graph.inputs.remove(value)
            model.graph.register_initializer(value)
    return Trial(f"{name} (constants)", model, feeds)
