from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnx_ir as ir
import pytest
from builders.backend_cases import cases
from builders.equality import difference, interface, run, run_or_none

from onnxcompress import model_io
from onnxcompress.errors import CompressError, ModelError, UsageError
from onnxcompress.interop.graphsurgeon import from_gs, gs_pass, to_gs
from onnxcompress.passes.base import Effect
from onnxcompress.registry import load_local, options_of
from onnxcompress.testing import assert_pass, check_pass, context, model_of, random_feeds, random_model


@gs_pass(effect=Effect.EXACT)
def merge_relus(graph: gs.Graph, limit: int = 10) -> None:
    """Let a Relu of a Relu be one."""
    for node in graph.nodes[:limit]:
        if node.op == "Relu" and node.inputs[0].inputs and node.i().op == "Relu":
            node.inputs[0] = node.i().inputs[0]
    graph.cleanup()


def trip(model: ir.Model) -> ir.Model:
    return from_gs(to_gs(model), like=model)


def test_a_script_runs_as_a_pass() -> None:
    before = "g (float[2] x) => (float[2] y) { a = Relu(x) b = Relu(a) y = Neg(b) }"
    assert_pass(before, merge_relus(), "g (float[2] x) => (float[2] y) { b = Relu(x) y = Neg(b) }", ["GS-DONE"])
    assert_pass(before, merge_relus(limit=0), before, ["GS-DONE"])


def test_the_pass_has_a_name_a_help_text_and_options() -> None:
    assert (merge_relus.name, merge_relus.effect) == ("merge-relus", Effect.EXACT)
    assert merge_relus.__doc__ == "Let a Relu of a Relu be one."
    assert [(o.name, o.type, o.default) for o in options_of(merge_relus)] == [("limit", int, 10)]
    assert merge_relus(limit=3).spec() == {"pass": "merge-relus", "limit": 3}


def test_a_parameter_without_a_default_is_refused() -> None:
    with pytest.raises(UsageError, match="count has no default"):
        gs_pass(lambda graph, count: graph)


def test_a_script_may_return_another_graph() -> None:
    @gs_pass
    def only_first(graph: gs.Graph) -> gs.Graph:
        copy = graph.copy()
        copy.outputs = copy.outputs[:1]
        return copy.cleanup()

    model = model_of("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(x) }")
    list(only_first().run(model, context(model)))
    assert [v.name for v in model.graph.outputs] == ["y"]


def test_it_loads_from_a_file_by_its_name(tmp_path) -> None:
    file = tmp_path / "surgery.py"
    file.write_text(
        "from onnxcompress.interop.graphsurgeon import gs_pass\n"
        "@gs_pass\n"
        "def shave(graph):\n"
        "    'Do nothing, and print.'\n"
        "    print('here')\n"
    )
    cls = load_local(f"{file}:shave")
    assert cls.name == "shave"


def test_what_a_script_and_gs_print_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    @gs_pass
    def talk(graph: gs.Graph) -> None:
        print("here")  # noqa: T201

    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    list(talk().run(model, context(model)))
    assert capsys.readouterr() == ("", "here\n")


@pytest.mark.ci
def test_the_pass_meets_its_obligations() -> None:
    assert check_pass(merge_relus()).findings["GS-DONE"] > 40


def test_texts_metadata_and_types_come_back() -> None:
    model = model_of(
        """<ir_version: 8, opset_import: ["": 18], domain: "mine", model_version: 7, doc_string: "text">
        g (float[N,2] x, float[2] w) => (float[N,2] y) <float[2] w = {1, 2}, float[N,2] a, float[1] unread = {3}>
        { [n] a = Add(x, w) y = Relu(a) }"""
    )
    model.metadata_props["k"] = "v"
    model.graph.metadata_props["gk"] = "gv"
    node = model.graph[0]
    node.metadata_props["nk"], node.doc_string = "nv", "a node"
    node.outputs[0].metadata_props["vk"] = "vv"
    model.graph.inputs[0].metadata_props["ik"], model.graph.inputs[0].doc_string = "iv", "an input"
    assert model_io.to_bytes(trip(model)) == model_io.to_bytes(model)


def test_a_constant_that_branches_share_stays_one_constant_outside() -> None:
    model = model_of(
        """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> { y = If(c)
        <then_branch = t () => (float[2] p) { p = Add(x, w) },
         else_branch = e () => (float[2] q) { q = Mul(x, w) }> }"""
    )
    after = trip(model)
    assert [len(g.initializers) for g in (after.graph, *after.graph.subgraphs())] == [1, 0, 0]
    for choice in (True, False):
        feeds = {"x": np.asarray([3, 4], np.float32), "c": np.asarray(choice)}
        assert difference(run(ir.to_proto(model), feeds), run(ir.to_proto(after), feeds)) == ""


def test_a_shape_that_the_script_made_stale_is_not_put_back() -> None:
    @gs_pass
    def halve(graph: gs.Graph) -> None:
        weights = next(t for t in graph.tensors().values() if t.name == "w")
        weights.values = weights.values[:, :2]
        graph.tensors()["a"].shape = None
        graph.outputs[0].shape = ["N", 2]

    model = model_of(
        """g (float[N,3] x) => (float[N,4] y) <float[3,4] w = {1,2,3,4,5,6,7,8,9,1,2,3}, float[N,4] a>
        { a = MatMul(x, w) y = Relu(a) }"""
    )
    list(halve().run(model, context(model)))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert model.graph[0].outputs[0].shape is None


REFUSED = {
    "INT4": model_of(
        """<ir_version: 10, opset_import: ["": 21]> g (int4[2] x) => (float[2] y) <float s = {1}>
        { y = DequantizeLinear(x, s) }"""
    ),
    "FLOAT8E4M3FNUZ": model_of("g (float8e4m3fnuz[2] x) => (float8e4m3fnuz[2] y) { y = Identity(x) }"),
    "empty list": model_of("g (float[2] x) => (float[2] y) { y = custom.Op<axes: ints = []>(x) }"),
    "local functions": model_of(
        """<ir_version: 8, opset_import: ["": 18, "f": 1]> g (float[2] x) => (float[2] y) { y = f.Twice(x) }
        <domain: "f", opset_import: ["": 18]> Twice (a) => (b) { b = Add(a, a) }"""
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_gs_would_damage_is_refused_by_name(what: str) -> None:
    with pytest.raises(ModelError, match=what) as caught:
        to_gs(REFUSED[what])
    assert caught.value.code == "INTEROP-GRAPHSURGEON"
    assert caught.value.where


def check_trip(model: ir.Model, feeds: dict) -> None:
    before = model_io.to_proto(model)
    after = model_io.to_proto(trip(model))
    assert interface(before) == interface(after)
    assert difference(run(before, feeds), run(after, feeds)) == ""


def test_round_trip_of_random_models() -> None:
    for seed in range(25):
        model = random_model(seed)
        check_trip(model, random_feeds(model))


def round_trip_backend(every: int, at_least: int) -> None:
    done = 0
    for variant in ("plain", "constified"):
        for case in cases(variant, every=every):
            try:
                model = model_io.load(case.model)
                to_gs(model)
            except CompressError:
                continue  # refused by name
            if run_or_none(case.model, case.feeds) is not None:
                check_trip(model, case.feeds)
                done += 1
    assert done >= at_least


def test_round_trip_of_a_sample_of_the_backend_suite() -> None:
    round_trip_backend(53, 40)


@pytest.mark.nightly
def test_round_trip_of_the_whole_backend_suite() -> None:
    round_trip_backend(1, 2500)
