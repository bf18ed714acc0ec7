from __future__ import annotations

import json

import onnx_ir as ir

from onnxcompress.report.inspection import inspect_model


def _halves(count: int) -> str:
    return ", ".join(["0.5"] * count)


FLOAT = f"""
<ir_version: 10, opset_import: ["" : 21], producer_name: "somebody">
g (float[N,3,8,8] x) => (float[N,5] y)
<float[4,3,3,3] w = {{{_halves(108)}}}, float[4,5] m = {{{_halves(20)}}}>
{{
  [conv] c = Conv <pads = [1,1,1,1]> (x, w)
  r = Relu(c)
  p = GlobalAveragePool(r)
  f = Flatten(p)
  [head] y = MatMul(f, m)
}}
"""

QDQ = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N,4] x) => (float[N,2] y)
<float s = {0.5}, uint8 z = {0}, int8[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float ws = {0.1}, int8 wz = {0},
 float[3,2] v = {1,2,3,4,5,6}>
{
  q = QuantizeLinear(x, s, z)
  d = DequantizeLinear(q, s, z)
  wd = DequantizeLinear(w, ws, wz)
  [first] h = MatMul(d, wd)
  [second] y = MatMul(h, v)
}
"""


def test_costs_operators_and_interface() -> None:
    found = inspect_model(ir.from_onnx_text(FLOAT))
    assert found.costs["params"] == 4 * 3 * 9 + 20
    assert found.costs["macs"] == 4 * 27 * 64 + 20
    assert found.operators == {"Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "MatMul": 1}
    assert (found.inputs[0].name, found.inputs[0].dtype, found.inputs[0].shape) == ("x", "float", ["N", 3, 8, 8])
    assert found.producer == "somebody"
    assert found.quantization == {"state": "none"}


def test_the_heaviest_layers_come_first_and_idle_ones_not_at_all() -> None:
    found = inspect_model(ir.from_onnx_text(FLOAT))
    assert [(layer.name, layer.macs) for layer in found.heaviest("macs")] == [("conv", 4 * 27 * 64), ("head", 20)]
    assert [layer.params for layer in found.heaviest("params", 1)] == [108]
    assert len(found.layers) == 2
    assert len(found.names) == 5


def test_the_share_behind_qdq_is_counted_in_macs() -> None:
    found = inspect_model(ir.from_onnx_text(QDQ))
    assert found.quantization == {"state": "q/dq", "QuantizeLinear": 1, "DequantizeLinear": 2, "macs_share": 12 / 18}
    first = next(layer for layer in found.layers if layer.name == "first")
    assert (first.macs, first.params) == (12, 12)


def test_the_json_form_is_plain() -> None:
    plain = inspect_model(ir.from_onnx_text(QDQ)).to_dict()
    assert json.loads(json.dumps(plain))["schema"] == "onnxcompress.inspection/1"
