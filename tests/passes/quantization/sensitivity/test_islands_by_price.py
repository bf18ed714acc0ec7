from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.sensitivity.islands import Search
from onnxcompress.passes.quantization.sensitivity.prices import Pricing
from onnxcompress.testing import context

RNG = np.random.default_rng(3)
GATED = """g (float[N,16,16,16] x) => (float[N,32,16,16] y) {
  a = Conv<kernel_shape=[1,1]>(x, w1)  ha = HardSwish(a)
  d = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=64>(ha, w2)  hd = HardSwish(d)
  y = Conv<kernel_shape=[1,1]>(hd, w3) }"""
SIZES = {"w1": (64, 16, 1, 1), "w2": (64, 1, 3, 3), "w3": (32, 64, 1, 1)}


def _draft() -> Draft:
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + GATED)
    arrays = {n: (RNG.normal(size=s) * 0.3).astype(np.float32) for n, s in SIZES.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    model = ir.from_proto(proto)
    data = {"x": RNG.normal(size=(20, 16, 16, 16)).astype(np.float32)}
    return Draft.begin(model, context(model, data=data, target="ort-x86-vnni"), InsertQDQ())


def _search(draft: Draft, errors: dict[str, float], whole=lambda names: 0.1) -> Search:
    return Search(draft.request, draft.plan, errors, 0.0, whole)


def test_a_depthwise_convolution_between_float_neighbours_is_an_island_that_saves_time() -> None:
    draft = _draft()
    pricing = Pricing(draft.request)
    without = place(replace(draft.request, islands=("ha",)))
    assert {c.node.outputs[0].name for c in without.linear} == {"a", "y"}
    assert pricing.time(without) < pricing.time(draft.plan)


def test_the_greatest_gain_for_its_time_comes_first_and_the_search_ends_where_it_is_near_enough() -> None:
    draft = _draft()
    errors = dict.fromkeys(draft.plan.members(), 1e-6) | {"ha": 0.2, "hd": 0.05}
    seen: list[list[str]] = []

    def whole(names) -> float:
        seen.append(list(names))
        return sum(errors[n] for n in names) if "hd" in names else 1e-5

    found = _search(draft, errors, whole).run(None, 8, sum(errors.values()))
    assert found[0].root == "ha" and found[0].time < 0 and "ha" not in seen[0] and "d" not in seen[0]
    assert [island.left for island in found] == [whole(names) for names in seen[: len(found)]]


def test_an_island_that_costs_more_than_it_brings_is_not_taken() -> None:
    draft = _draft()
    errors = dict.fromkeys(draft.plan.members(), 0.01)
    assert "x" not in [island.root for island in _search(draft, errors).run(None, 8, 0.06)]


def test_nothing_is_looked_for_where_the_outputs_are_near_enough() -> None:
    draft = _draft()
    errors = dict.fromkeys(draft.plan.members(), 0.01)
    assert _search(draft, errors).run(None, 8, 1e-4) == []
    assert len(_search(draft, errors).run(2, 8, 1e-4)) == 2


def test_islands_after_the_one_with_the_least_error_are_dropped() -> None:
    draft = _draft()
    errors = dict.fromkeys(draft.plan.members(), 1e-6) | {"ha": 0.2, "hd": 0.05}
    left = iter([0.04, 0.3, 0.3, 0.3])
    found = _search(draft, errors, lambda names: next(left)).run(None, 2, 0.25)
    assert [island.left for island in found] == [0.04]
    assert _search(draft, errors, lambda names: 0.4).run(None, 2, 0.25) == []
