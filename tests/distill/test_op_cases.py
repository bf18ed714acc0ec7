"""Ops that ONNX's own suite leaves thin: attributes that change the numbers, and gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_ops import CASES, REFUSED
from builders.equality import run
from onnx.reference import ReferenceEvaluator

from onnxcompress import model_io
from onnxcompress.distill.bridge import Bridge
from onnxcompress.errors import ModelError


def found(case, *, double: bool = False):
    """The bridge's module, its inputs' names and the model."""
    model = model_io.load(case.model(double=double))
    return model, Bridge(model).specialise(case.samples(double=double))


def check(case, have, want):
    if case.steps:
        assert np.abs(have - want).max() <= case.steps
        assert np.mean(have != want) < case.share
        assert want.std() > 1
    else:
        np.testing.assert_allclose(have, want, rtol=case.tolerance, atol=case.tolerance)


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_onnx_runtime(name):
    case = CASES[name]
    made, feeds = case.model(), case.samples()
    wanted = ReferenceEvaluator(made).run(None, feeds) if case.reference else run(made, feeds)
    model, graph = found(case)
    given = graph.run(feeds)
    for value, want in zip(model.graph.outputs, wanted, strict=True):
        have = given[value.name].detach().numpy()
        assert have.shape == want.shape
        check(case, have.astype(np.float64), want.astype(np.float64))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.smooth])
def test_the_gradients_are_those_of_finite_differences(name):
    case = CASES[name]
    model, graph = found(case, double=True)
    first = model.graph.outputs[0].name
    feeds = {n: torch.from_numpy(a) for n, a in case.samples(double=True).items()}

    def call(*moving):
        moved = {**feeds, **dict(zip(case.smooth, moving, strict=True))}
        return graph.module(*[moved[n] for n in graph.inputs])[first]

    assert torch.autograd.gradcheck(call, [feeds[n].requires_grad_() for n in case.smooth], fast_mode=True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_op_cannot_do_it_refuses_with_its_name(name):
    case, why = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        found(case)
    assert why in str(caught.value)
    assert "'it'" in caught.value.where
    assert caught.value.hint


@pytest.mark.parametrize("name", ["NonZero", "Compress", "NonMaxSuppression of ties"])
def test_the_samples_decide_how_much_is_found(name):
    case = CASES[name]
    _, graph = found(case)
    feeds = {n: np.ones_like(a) for n, a in case.samples().items()}
    (wanted,) = run(case.model(), feeds)
    np.testing.assert_array_equal(graph.run(feeds)["y0"], wanted)
