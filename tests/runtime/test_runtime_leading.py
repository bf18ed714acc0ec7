"""The part of a model that leads to some tensors."""

from __future__ import annotations

import numpy as np
import pytest
from builders.runtime_models import normal, parsed

from onnxcompress.errors import ModelError
from onnxcompress.runtime import Session
from onnxcompress.runtime.leading import leading_to
from onnxcompress.runtime_options import RuntimeOptions

TEXT = "g (float[N,4] x, float[N,4] z) => (float[N,4] y) { a = Relu(x) b = Add(a, z) y = Abs(b) }"


def test_only_what_leads_there_is_left() -> None:
    model = parsed(TEXT)
    part = leading_to(model, ["a"])
    assert [node.op_type for node in part.graph] == ["Relu"]
    assert [value.name for value in part.graph.outputs] == ["a"]
    assert [node.op_type for node in model.graph] == ["Relu", "Add", "Abs"]


def test_its_inputs_stay_so_that_the_same_samples_feed_it() -> None:
    x = normal(2, 4)
    found = Session(leading_to(parsed(TEXT), ["a"]), RuntimeOptions(threads=1)).run({"x": x, "z": x})
    np.testing.assert_array_equal(found["a"], np.maximum(x, 0))


def test_the_models_own_outputs_are_left_out_where_they_are_not_asked_for() -> None:
    part = leading_to(parsed(TEXT), ["b", "a"])
    assert [value.name for value in part.graph.outputs] == ["b", "a"]
    assert [node.op_type for node in part.graph] == ["Relu", "Add"]


def test_an_unknown_tensor_is_named() -> None:
    with pytest.raises(ModelError, match="cannot tap"):
        leading_to(parsed(TEXT), ["nothing"])
