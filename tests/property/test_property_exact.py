"""What holds for every model: saving keeps it, exact passes keep its numbers, and normalize is done after one run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir
import pytest
from builders.equality import difference, interface, is_checked, run
from builders.strategies import models
from hypothesis import HealthCheck, given, settings

from onnxcompress import model_io
from onnxcompress.passes.base import Pass
from onnxcompress.passes.fold_batchnorm import FoldBatchNorm
from onnxcompress.passes.normalize import Normalize
from onnxcompress.testing import context, random_feeds

DEFAULT = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


def apply(passes: list[Pass], model: ir.Model) -> ir.Model:
    copy = model.clone()
    for pass_ in passes:
        list(pass_.run(copy, context(copy)))
    return copy


def check_exact(model: ir.Model, passes: list[Pass]) -> None:
    before, after = ir.to_proto(model), ir.to_proto(apply(passes, model))
    feeds = random_feeds(model, 1, batch=3)
    assert is_checked(after)
    assert interface(before) == interface(after)
    assert difference(run(before, feeds), run(after, feeds), 1e-4) == ""
    assert difference(run(before, feeds), run(after, feeds, optimize=True), 1e-4) == ""


@DEFAULT
@given(models())
def test_save_then_load_is_the_identity(model: ir.Model) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = model_io.save(model, Path(folder) / "model.onnx")
        loaded = model_io.load(path)
    assert model_io.to_bytes(loaded) == model_io.to_bytes(model)
    feeds = random_feeds(model)
    assert difference(run(ir.to_proto(model), feeds), run(ir.to_proto(loaded), feeds), 0) == ""


@DEFAULT
@given(models())
def test_normalize_is_exact(model: ir.Model) -> None:
    check_exact(model, [Normalize()])


@DEFAULT
@given(models())
def test_fold_batchnorm_is_exact_with_and_without_normalize(model: ir.Model) -> None:
    check_exact(model, [FoldBatchNorm()])
    check_exact(model, [Normalize(), FoldBatchNorm(), Normalize()])


@DEFAULT
@given(models())
def test_normalize_is_idempotent(model: ir.Model) -> None:
    once = apply([Normalize()], model)
    assert model_io.to_bytes(apply([Normalize()], once)) == model_io.to_bytes(once)


@pytest.mark.nightly
@MANY
@given(models(30))
def test_all_of_it_on_many_models(model: ir.Model) -> None:
    check_exact(model, [Normalize(), FoldBatchNorm(), Normalize()])
    once = apply([Normalize()], model)
    assert model_io.to_bytes(apply([Normalize()], once)) == model_io.to_bytes(once)
