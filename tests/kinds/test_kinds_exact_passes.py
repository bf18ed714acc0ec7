"""Every kind of model loads, saves, and comes through the exact passes with its numbers, Q/DQ and foreign nodes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
from builders.equality import difference, interface, run
from builders.kinds import KINDS, Kind

from onnxcompress import model_io, verify
from onnxcompress.passes.base import Pass
from onnxcompress.passes.fold_batchnorm import FoldBatchNorm
from onnxcompress.passes.normalize import Normalize
from onnxcompress.testing import context

EXACT: list[Pass] = [Normalize(), FoldBatchNorm()]


@pytest.fixture(params=KINDS, scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]()


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_it_is_valid_and_runs_where_it_should(kind: Kind) -> None:
    onnx.checker.check_model(kind.model, full_check=True)
    if kind.runs:
        outputs = run(kind.model, kind.feeds)
        assert all(array.size > 0 for array in outputs)
    else:
        with pytest.raises(Exception, match="EfficientNMS_TRT"):
            run(kind.model, kind.feeds)


def test_load_and_save_keep_it(kind: Kind, tmp_path: Path) -> None:
    onnx.save(kind.model, tmp_path / "in.onnx")
    model = model_io.load(tmp_path / "in.onnx")
    path = model_io.save(model, tmp_path / "out.onnx")
    assert model_io.fingerprint(model_io.load(path)) == model_io.fingerprint(model)
    assert operators(onnx.load(path)) == operators(kind.model)
    if kind.runs:
        assert difference(run(kind.model, kind.feeds), run(onnx.load(path), kind.feeds), 0) == ""


def test_exact_passes_keep_its_numbers(kind: Kind) -> None:
    model = model_io.load(kind.model)
    declared = interface(model_io.to_proto(model))
    ctx = context(model)
    for pass_ in EXACT:
        list(pass_.run(model, ctx))
    after = model_io.to_proto(model)
    verify.check_structure(model, ctx)
    assert interface(after) == declared
    kept = ("QuantizeLinear", "DequantizeLinear", "EfficientNMS_TRT", "NonMaxSuppression", "LSTM", "Attention")
    assert {op: operators(after)[op] for op in kept} == {op: operators(kind.model)[op] for op in kept}
    assert "BatchNormalization" not in operators(after)
    if kind.runs:
        assert difference(run(kind.model, kind.feeds), run(after, kind.feeds), kind.tolerance) == ""
