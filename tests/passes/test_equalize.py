from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.errors import UsageError
from onnxcompress.passes.equalize import Equalize
from onnxcompress.testing import assert_pass, check_pass

X = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)


def test_ranges_move_from_a_tensor_into_the_weights_that_read_it() -> None:
    before = """g (float[N,2] x) => (float[N,2] y)
        <float[2,3] w = {64.0, 1.0, 0.03125, 32.0, -1.0, 0.03125}, float[3] b = {8.0, 0.0, 0.0},
         float[3,2] v = {0.001, 0.002, 0.1, -0.2, 2.0, 4.0}>
        { h = Gemm(x, w, b) r = Relu(h) y = MatMul(r, v) }"""
    after = """g (float[N,2] x) => (float[N,2] y)
        <float[2,3] w = {0.25, 1.0, 0.25, 0.125, -1.0, 0.25}, float[3] b = {0.03125, 0.0, 0.0},
         float[3,2] v = {0.256, 0.512, 0.1, -0.2, 0.25, 0.5}>
        { h = Gemm(x, w, b) r = Relu(h) y = MatMul(r, v) }"""
    assert_pass(before, Equalize(method="smooth", alpha=1.0), after, ["EQUALIZE-DONE"], data={"x": X})


def test_what_does_not_commute_with_a_factor_stays() -> None:
    text = """g (float[N,2] x) => (float[N,2] y)
        <float[2,3] w = {64.0, 1.0, 0.03125, 32.0, -1.0, 0.03125}, float[3,2] v = {0.001, 0.002, 0.1, -0.2, 2.0, 4.0}>
        { h = MatMul(x, w) r = Sigmoid(h) y = MatMul(r, v) }"""
    assert_pass(text, Equalize(), text, ["EQUALIZE-NONE"], data={"x": X})


def test_two_weights_are_evened_out_without_data() -> None:
    before = """g (float[N,2] x) => (float[N,2] y)
        <float[2,3] w = {4.0, 1.0, 0.25, 1.0, -1.0, 0.25}, float[3,2] v = {0.25, 0.25, 1.0, -1.0, 4.0, 4.0}>
        { h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }"""
    after = """g (float[N,2] x) => (float[N,2] y)
        <float[2,3] w = {1.0, 1.0, 1.0, 0.25, -1.0, 1.0}, float[3,2] v = {1.0, 1.0, 1.0, -1.0, 1.0, 1.0}>
        { h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }"""
    assert_pass(before, Equalize(method="cross-layer", per_channel=False), after, ["EQUALIZE-DONE"])


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="alpha"):
        Equalize(alpha=2.0).check()
    with pytest.raises(UsageError, match="iterations"):
        Equalize(iterations=0).check()


def test_conformance() -> None:
    assert check_pass(Equalize()).models > 20
