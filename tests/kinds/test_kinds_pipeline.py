"""Every kind of model goes through pruning and both quantizers; what cannot be compressed is left with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from builders.equality import interface, is_checked, run
from builders.kinds import KINDS, Kind

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.errors import ModelError
from onnxcompress.result import Result
from onnxcompress.runtime_options import RuntimeOptions


@pytest.fixture(params=KINDS, scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]()


def compress(kind: Kind, *passes: oc.Pass, with_data: bool = False) -> Result:
    manager = oc.PassManager(passes, allow_unchanged=True)
    return manager.run(kind.model, data=kind.feeds if with_data else None, runtime=RuntimeOptions(threads=1))


def check(kind: Kind, result: Result) -> None:
    after = result.proto()
    assert is_checked(after)
    assert interface(after) == interface(model_io.to_proto(model_io.load(kind.model)))
    assert result.report.findings
    if kind.runs:
        for before, array in zip(run(kind.model, kind.feeds), run(after, kind.feeds), strict=True):
            assert array.dtype == before.dtype
            assert array.ndim == before.ndim
            assert np.isfinite(array.astype(np.float64)).all()


def test_prune_then_quantize_with_data(kind: Kind, request: pytest.FixtureRequest) -> None:
    if "with Q/DQ" in request.node.name:
        with pytest.raises(ModelError, match="quantized already"):
            compress(kind, oc.InsertQDQ(), with_data=True)
        return
    check(kind, compress(kind, oc.PruneChannels(ratio=0.3), oc.InsertQDQ(), with_data=True))


def test_weights_only(kind: Kind) -> None:
    check(kind, compress(kind, oc.QuantizeWeights()))


def test_a_foreign_node_is_carried_byte_for_byte_and_named() -> None:
    kind = KINDS["detector with a TensorRT plug-in"]()
    result = compress(kind, oc.PruneChannels(ratio=0.3))
    tails = [next(n for n in m.graph.node if n.domain == "TRT") for m in (kind.model, result.proto())]
    assert tails[0].SerializeToString(deterministic=True) == tails[1].SerializeToString(deterministic=True)
    assert result.report.after["macs"] < result.report.before["macs"]
    told = " ".join(f"{f.message} {f.node}" for f in result.report.findings)
    assert "EfficientNMS_TRT" in told


def test_quantization_that_is_there_already_is_made_float_first_or_refused() -> None:
    kind = KINDS["with Q/DQ"]()
    with pytest.raises(ModelError) as refusal:
        compress(kind, oc.InsertQDQ(), with_data=True)
    assert refusal.value.code == "QUANT-ALREADY"
    check(kind, compress(kind, oc.RemoveQDQ(), oc.InsertQDQ(), with_data=True))
