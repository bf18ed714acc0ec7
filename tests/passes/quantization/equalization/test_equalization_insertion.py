"""Where no node can take a scale, a division beside the tensor does."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from builders.equality import difference, run

from onnxcompress.graph import clone
from onnxcompress.passes.quantization.equalization import equalize
from onnxcompress.testing import context, model_of

TEXT = """<ir_version: 10, opset_import: ["": 21]>
    g (float[N,2] x) => (float[N,2] y)
    <float[2,3] w = {64.0, 1.0, 0.03125, 32.0, -1.0, 0.03125}, float[3,2] v = {0.01, 0.02, 1.0, -2.0, 20.0, 40.0}>
    { h = MatMul(x, w) r = HardSwish(h) y = MatMul(r, v) }"""
X = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)


def equalized(only: list[str]) -> tuple[ir.Model, ir.Model, list[str]]:
    model = model_of(TEXT)
    after = clone(model)
    ctx = context(model, data={"x": X})
    found = equalize(after, ctx.data, ctx, only=only, insertion=True)
    assert difference(run(ir.to_proto(model), {"x": X}), run(ir.to_proto(after), {"x": X}), 1e-6) == ""
    return model, after, [f.node for f in found if f.code == "EQUALIZE-DONE"]


def test_before_the_reader_of_a_gate_s_result() -> None:
    _, after, named = equalized(["r"])
    assert [node.op_type for node in after.graph] == ["MatMul", "HardSwish", "Div", "MatMul"]
    assert named == ["r_equalized"]


def test_behind_a_product_and_in_front_of_what_reads_it() -> None:
    _, after, named = equalized(["h"])
    assert [node.op_type for node in after.graph] == ["MatMul", "Div", "HardSwish", "MatMul"]
    assert named == ["h"]


def test_nothing_stays_where_nothing_is_gained() -> None:
    model, after, named = equalized(["nothing of that name"])
    assert len(after.graph) == len(model.graph)
    assert named == []
