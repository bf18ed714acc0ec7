from __future__ import annotations

import pytest

from onnxcompress.passes.normalize import Normalize
from onnxcompress.testing import assert_pass, model_of, normal_text

BEFORE = "g (float[2] x) => (float[2] y) { a = Identity(x) y = Relu(a) }"
AFTER = "g (float[2] x) => (float[2] y) { y = Relu(x) }"


def test_a_rewrite_that_comes_out_as_expected_passes() -> None:
    assert_pass(BEFORE, Normalize(), AFTER, ["NORMALIZE-IDENTITY"])


def test_another_result_is_shown_line_by_line() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_pass(BEFORE, Normalize(), AFTER.replace("Relu", "Neg"), ["NORMALIZE-IDENTITY"])
    assert "-   y = Neg (x)" in str(caught.value)
    assert "+   y = Relu (x)" in str(caught.value)


def test_other_findings_are_told() -> None:
    with pytest.raises(AssertionError, match="NORMALIZE-IDENTITY"):
        assert_pass(BEFORE, Normalize(), AFTER)


def test_a_weight_that_differs_counts() -> None:
    text = "g (float[2] x) => (float[2] y) <float[2] w = {{1, {}}}> {{ y = Add(x, w) }}"
    with pytest.raises(AssertionError, match="came out differently"):
        assert_pass(text.format(2), Normalize(), text.format(3))


def test_names_of_nodes_order_of_weights_and_metadata_do_not_count() -> None:
    one = model_of(
        "g (float[2] x) => (float[2] y) <float[1] a = {1}, float[1] b = {2}> { [n] p = Add(x, a) y = Mul(p, b) }"
    )
    two = model_of(
        "h (float[2] x) => (float[2] y) <float[1] b = {2}, float[1] a = {1}> { p = Add(x, a) y = Mul(p, b) }"
    )
    two.metadata_props["made by"] = "hand"
    two.graph[0].doc_string = "a sum"
    assert normal_text(one) == normal_text(two)
