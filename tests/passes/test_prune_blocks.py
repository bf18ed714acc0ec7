from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress import api, graph, verify
from onnxcompress.cost import costs
from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Scope
from onnxcompress.passes.prune_blocks import PruneBlocks
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.testing import assert_pass, context, model_of


def residual_net(depth: int = 5, gains: tuple[float, ...] = (1.0, 0.01, 0.5, 0.02, 0.7)) -> ir.Model:
    """A stack y = y + gain * relu(W y) with a bias; branches of small gain are worth little."""
    rng = np.random.default_rng(0)
    x = ir.Value(name="x", shape=ir.Shape(["N", 8]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes: list[ir.Node] = []
    inits: list[ir.Value] = []
    stream = x
    for level in range(depth):
        numbers = (rng.standard_normal((8, 8)) * gains[level] / 3).astype(np.float32)
        weight = ir.Value(name=f"w{level}", const_value=ir.tensor(numbers, name=f"w{level}"))
        weight.shape, weight.type = ir.Shape([8, 8]), ir.TensorType(ir.DataType.FLOAT)
        inits.append(weight)
        act, product, total = (ir.Value(name=f"{letter}{level}") for letter in "rbs")
        nodes.append(ir.Node("", "Relu", [stream], name=f"act{level}", outputs=[act]))
        nodes.append(ir.Node("", "MatMul", [act, weight], name=f"mm{level}", outputs=[product]))
        nodes.append(ir.Node("", "Add", [stream, product], name=f"add{level}", outputs=[total]))
        stream = total
    stream.name, stream.shape, stream.type = "y", ir.Shape(["N", 8]), ir.TensorType(ir.DataType.FLOAT)
    body = ir.Graph([x], [stream], nodes=nodes, initializers=inits, opset_imports={"": 17}, name="net")
    return ir.Model(body, ir_version=9)


def shortened(model: ir.Model, *, scope: Scope | None = None, data=None, **options) -> list[Finding]:
    ctx = context(model, data=data, **({"scope": scope} if scope else {}))
    findings = list(PruneBlocks(**options).run(model, ctx))
    verify.check_structure(model, ctx)
    verify.check_interface(ctx.original, model)
    return findings


def samples(count: int = 64) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).standard_normal((count, 8)).astype(np.float32)}


def test_the_branches_of_least_worth_go():
    model = residual_net()
    findings = shortened(model, data=samples(), blocks=0.4)
    assert {f.node for f in findings if f.code == "BLOCK-REMOVED"} == {"add1", "add3"}
    assert {"w1", "w3"}.isdisjoint(model.graph.initializers)


def test_the_mean_of_a_branch_stays_as_a_bias():
    model = residual_net()
    original, data = graph.clone(model), samples()
    shortened(model, data=data, blocks=0.2)
    branch = Session(original, taps=["b1"]).run({"x": data["x"]})["b1"]
    (bias,) = [v for name, v in model.graph.initializers.items() if name == "b1_mean"]
    np.testing.assert_allclose(graph.array_of(bias), branch.mean(axis=0), atol=1e-5)


def test_without_data_the_choice_is_called_a_guess_and_no_bias_stays():
    model = residual_net()
    findings = shortened(model, blocks=0.2)
    assert [f.code for f in findings] == ["BLOCK-GUESSED", "BLOCK-REMOVED"]
    assert not [name for name in model.graph.initializers if name.endswith("_mean")]


def test_everything_may_go_where_the_output_is_the_stream_itself():
    model = residual_net(depth=1)
    shortened(model, blocks=0.9)
    assert [node.op_type for node in model.graph] == ["Identity"]
    assert model.graph.outputs[0].name == "y"


def test_zero_is_the_identity():
    model = residual_net()
    findings = shortened(model, blocks=0.0)
    assert [f.code for f in findings] == ["BLOCK-NOTHING"]
    assert len(list(model.graph)) == 15


@pytest.mark.parametrize(("scope", "gone"), [(Scope(exclude=("mm1", "mm3")), set()), (Scope(only=("mm0",)), {"add0"})])
def test_scope_is_kept(scope, gone):
    findings = shortened(residual_net(), scope=scope, data=samples(), blocks=0.9)
    removed = {f.node for f in findings if f.code == "BLOCK-REMOVED"}
    assert removed == gone if gone else removed.isdisjoint({"add1", "add3"})


def test_no_branch_goes_that_alone_reads_an_input():
    model = model_of(
        """<ir_version: 9, opset_import: ["" : 17]>
        g (float[N, 4] x, float[N, 4] z) => (float[N, 4] y) <float[4, 4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}> {
            xz = Add (x, z)
            b = MatMul (xz, w)
            y = Add (x, b)
        }"""
    )
    findings = shortened(model, blocks=0.9)
    assert "BLOCK-TARGET-MISSED" in {f.code for f in findings}
    assert "w" in model.graph.initializers


def test_the_same_call_gives_the_same_bytes():
    results = []
    for _ in range(2):
        model = residual_net()
        shortened(model, data=samples(), blocks=0.6)
        results.append(ir.to_proto(model).SerializeToString(deterministic=True))
    assert results[0] == results[1]


@pytest.mark.parametrize("options", [{"blocks": 1.0}, {"blocks": -0.1}, {"blocks": float("nan")}, {"block_samples": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(UsageError, match=r"--block"):
        shortened(residual_net(), **options)


def test_one_sample_and_constant_samples_give_numbers():
    for data in ({"x": np.ones((1, 8), np.float32)}, {"x": np.zeros((8, 8), np.float32)}):
        model = residual_net()
        shortened(model, data=data, blocks=0.4)
        for value in model.graph.initializers.values():
            assert np.isfinite(graph.array_of(value)).all()


def test_prune_with_blocks_alone_cuts_no_channel():
    before = residual_net()
    result = api.prune(before, data=samples(), blocks=0.4)
    assert [record.name for record in result.report.passes] == ["normalize", "prune-blocks", "reconstruct"]
    assert costs(result.model).macs == costs(before).macs * 3 // 5


def test_prune_with_blocks_and_channels_shortens_first():
    recipe = api.recipe_for("prune", {"blocks": 0.4, "target_macs": "0.5x"}, has_data=True)
    assert [each.name for each in recipe.passes] == ["normalize", "prune-blocks", "prune-channels", "reconstruct"]


@pytest.mark.parametrize("option", [{"score": "l1"}, {"no_such_option": 1}])
def test_prune_with_blocks_drops_no_option_in_silence(option):
    with pytest.raises(UsageError, match=r"not told how much|no option"):
        api.prune(residual_net(), data=samples(), blocks=0.4, **option)


def test_text_before_and_after():
    before = """<ir_version: 9, opset_import: ["" : 17]>
    g (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1, 2, 3, 4}> {
        [branch] b = MatMul (x, w)
        [sum] s = Add (x, b)
        [act] y = Relu (s)
    }"""
    after = """<ir_version: 9, opset_import: ["" : 17]>
    g (float[N, 2] x) => (float[N, 2] y) {
        [act] y = Relu (x)
    }"""
    assert_pass(before, PruneBlocks(blocks=0.9), after, findings=["BLOCK-GUESSED", "BLOCK-REMOVED"])
