from __future__ import annotations

import json

import pytest
from builders.pruning_models import NETS, net

from onnxcompress import model_io
from onnxcompress.errors import UsageError
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.pruning.selection import META, SCHEMA, document
from onnxcompress.testing import context

TEXT = "g (float[N,8] x) => (float[N,4] y) { a = Gemm(x, w0) r = Relu(a) b = Gemm(r, w1) y = Gemm(b, w2) }"
SHAPES = {"w0": (8, 16), "w1": (16, 12), "w2": (12, 4)}
GROUP = {"producers": [{"node": "a", "weight": "w0", "channels": 16}], "rows": 1, "channels": 16, "removed": [[1, 3]]}


def pruned(model, **options):
    findings = list(PruneChannels(**options).run(model, context(model)))
    return model_io.to_bytes(model), findings


def written(tmp_path, model, fingerprint=""):
    path = tmp_path / "plan.json"
    path.write_text(document(model.meta[META], fingerprint))
    return str(path)


def plan_of(tmp_path, *groups, **more):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"schema": SCHEMA, "model": "", "groups": list(groups), **more}))
    return str(path)


@pytest.mark.parametrize("name", ["grouped conv", "vit block", "bidirectional lstm", "conv, batch norm, residual"])
def test_a_replay_gives_the_same_bytes(tmp_path, name):
    model = NETS[name]()
    fingerprint = model_io.fingerprint(model)
    first, _ = pruned(model, ratio=0.4)
    again, findings = pruned(NETS[name](), plan=written(tmp_path, model, fingerprint))
    assert first == again
    assert "PRUNE-PLAN-OTHER-FILE" not in {f.code for f in findings}


def test_a_plan_names_its_groups_and_is_small():
    model = net(TEXT, SHAPES)
    pruned(model, layer=("a=0.125",))
    (group,) = model.meta[META]
    assert group["producers"] == [{"node": "a", "weight": "w0", "channels": 16}]
    assert len(group["removed"][0]) == 2


def test_before_and_after_by_hand(tmp_path):
    model = net(TEXT, SHAPES)
    kept = model.graph.initializers["w0"].const_value.numpy()[:, [0, 2, *range(4, 16)]]
    _, findings = pruned(model, plan=plan_of(tmp_path, GROUP))
    assert (model.graph.initializers["w0"].const_value.numpy() == kept).all()
    assert {"PRUNE-PLAN-OTHER-FILE", "PRUNE-CUT", "PRUNE-EXACT"} <= {f.code for f in findings}


def test_another_export_is_matched_by_the_weights(tmp_path):
    text = "g (float[N,8] x) => (float[N,4] y) { q = Gemm(x, w0) r = Relu(q) b = Gemm(r, w1) y = Gemm(b, w2) }"
    other = net(text, SHAPES)
    _, findings = pruned(other, plan=plan_of(tmp_path, GROUP))
    assert [f.node for f in findings if f.code == "PRUNE-CUT"] == ["q"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"producers": [{"node": "z", "weight": "", "channels": 16}]}, "no channels of z may be cut here"),
        ({"channels": 20}, "a has 16 removable channels here, 20 in the plan"),
        (
            {"producers": [{"node": "a", "weight": "", "channels": 16}, {"node": "b", "weight": "", "channels": 16}]},
            "a is tied to other layers",
        ),
    ],
)
def test_a_plan_of_another_model_says_what_differs(tmp_path, change, why):
    with pytest.raises(UsageError, match=why) as caught:
        pruned(net(TEXT, SHAPES), plan=plan_of(tmp_path, {**GROUP, **change}))
    assert caught.value.code == "USAGE-PLAN-MISMATCH"


HOSTILE = [
    ("", "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ("[]", "schema"),
    ('{"schema": "onnxcompress.prune-plan/1", "groups": NaN}', "NaN is no number"),
    ({"model": 3}, "fingerprint"),
    ({"groups": {}}, "schema"),
    ({"groups": [7]}, "group 0 names no producers"),
    ({"groups": [{**GROUP, "producers": [{"node": 1, "weight": ""}]}]}, "without node and weight"),
    ({"groups": [{**GROUP, "removed": [[16]]}]}, "numbers from 0 to 15"),
    ({"groups": [{**GROUP, "removed": [[-1]]}]}, "numbers from 0 to 15"),
    ({"groups": [{**GROUP, "removed": [[1.5]]}]}, "numbers from 0 to 15"),
    ({"groups": [{**GROUP, "removed": [[True]]}]}, "numbers from 0 to 15"),
    ({"groups": [{**GROUP, "removed": [[1, 1]]}]}, "removes a channel twice"),
    ({"groups": [{**GROUP, "removed": [[1], [2]]}]}, "for each of its rows"),
    ({"groups": [{**GROUP, "rows": "1"}]}, "for each of its rows"),
    ({"groups": [{**GROUP, "removed": [list(range(16))]}]}, "without any channel"),
]


@pytest.mark.parametrize(("content", "why"), HOSTILE)
def test_a_hostile_plan_is_refused_by_what_is_wrong_with_it(tmp_path, content, why):
    path = tmp_path / "plan.json"
    if isinstance(content, dict):
        path.write_text(json.dumps({"schema": SCHEMA, "model": "", "groups": [], **content}))
    else:
        path.write_text(content)
    with pytest.raises(UsageError, match=why) as caught:
        pruned(net(TEXT, SHAPES), plan=str(path))
    assert (caught.value.code, caught.value.exit_code) == ("USAGE-PLAN", 2)


def test_a_plan_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        pruned(net(TEXT, SHAPES), plan=str(tmp_path / "nowhere.json"))


def test_a_plan_and_an_amount_exclude_each_other():
    with pytest.raises(UsageError, match="--plan and --ratio exclude each other"):
        pruned(net(TEXT, SHAPES), plan="p.json", ratio=0.5)
