"""What every pass owes its users, for the narrow widths: on one model here, on many in the slower tier."""

from __future__ import annotations

import pytest

from onnxcompress.passes.base import Pass
from onnxcompress.passes.convert_float import ConvertFloat
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantize_weights import QuantizeWeights
from onnxcompress.testing import check_pass, random_feeds, random_model
from onnxcompress.testing.backend import Trial
from onnxcompress.testing.obligations import check_trial

PASSES: dict[str, Pass] = {
    "int4 weights": QuantizeWeights(weights="int4", block=16),
    "int4 weights as MatMulNBits": QuantizeWeights(weights="int4", block=16, format="matmulnbits"),
    "float8 weights": QuantizeWeights(weights="float8"),
    "int4 and uint8": InsertQDQ(weights="int4", activations="uint8", effort="fast"),
    "int8 and int16": InsertQDQ(activations="int16", effort="fast"),
    "float16": ConvertFloat(),
    "bfloat16": ConvertFloat(float_type="bfloat16"),
}


@pytest.mark.parametrize("name", PASSES)
def test_one_model(name: str) -> None:
    trial = Trial("random_model(3)", random_model(3), random_feeds(random_model(3), 3))
    check_trial(PASSES[name], trial, target="ort-x86-vnni", idempotent=False)


@pytest.mark.ci
@pytest.mark.parametrize("name", PASSES)
def test_many_models(name: str) -> None:
    report = check_pass(PASSES[name], target="ort-x86-vnni")
    assert report.models > 40 and report.changed > 2, str(report)
