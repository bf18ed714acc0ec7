"""The node models of ONNX's own backend suite, as they are and with their inputs turned into constants."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

Variant = Literal["plain", "constified"]


class Case(NamedTuple):
    """One model and the inputs to run it on."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, Any]


@functools.cache
def _collected() -> tuple[Any, ...]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return tuple(collect_testcases(None))


def cases(variant: Variant, *, every: int = 1) -> Iterator[Case]:
    """The suite's models in its own order, about 1,900 a variant; not all of them run in ONNX Runtime.

    Args:
        variant: `plain`, or `constified`: every tensor input but the first becomes an initializer.
        every: Yield only each `every`-th model: a sample that is spread over all operators.
    """
    for case in _collected()[::every]:
        feeds = dict(zip((i.name for i in case.model.graph.input), case.data_sets[0][0], strict=False))
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        if variant == "constified":
            _constify(model, feeds)
        yield Case(case.name, model, feeds)


def _constify(model: onnx.ModelProto, feeds: dict[str, Any]) -> None:
    model.ir_version = max(model.ir_version, 4)  # before, an initializer had to be an input too
    for value in list(model.graph.input)[1:]:
        tensor = feeds.get(value.name)
        if value.type.HasField("tensor_type") and isinstance(tensor, np.ndarray | np.generic):
            model.graph.initializer.append(_to_tensor(np.asarray(tensor), value))
            model.graph.input.remove(value)
            del feeds[value.name]


def _to_tensor(array: np.ndarray, value: onnx.ValueInfoProto) -> onnx.TensorProto:
    kind = value.type.tensor_type.elem_type
    if array.dtype == helper.tensor_dtype_to_np_dtype(kind):
        return numpy_helper.from_array(array, value.name)
    return helper.make_tensor(value.name, kind, array.shape, array.tobytes(), raw=True)
