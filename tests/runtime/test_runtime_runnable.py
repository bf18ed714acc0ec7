from __future__ import annotations

import pytest
from builders.runtime_models import detector, linear, parsed

from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.runnable import foreign_ops


def outputs(model):
    return [value.name for value in model.graph.outputs]


def test_a_model_without_foreign_nodes_is_returned_itself():
    model = linear()
    part, findings = runnable_part(model)
    assert part is model
    assert not findings


def test_the_tensor_before_a_plugin_becomes_an_output():
    model = detector()
    part, findings = runnable_part(model)
    assert outputs(part) == ["features", "scores"]
    assert findings[0].numbers == {"operator": "TRT:EfficientNMS_TRT"}
    assert outputs(model) == ["features", "boxes"], "the user's model is not edited"
    Session(part)


@pytest.mark.parametrize("domain", ["", "com.microsoft", "org.example"])
def test_plugins_of_any_domain(domain):
    model = detector()
    node = next(node for node in model.graph if node.op_type == "EfficientNMS_TRT")
    node.domain = domain
    if domain:
        model.graph.opset_imports[domain] = 1
    assert outputs(runnable_part(model)[0]) == ["features", "scores"]


def test_all_that_depends_on_a_plugin_goes_and_what_does_not_stays():
    model = parsed("""g (float[N,4] x) => (float[N,4] y, float[N,4] z) {
        a = Relu(x)
        p = TRT.Plugin(a)
        q = Add(p, x)
        y = Neg(q)
        z = Abs(a)
    }""")
    part, findings = runnable_part(model)
    assert outputs(part) == ["z", "a"]
    assert [node.op_type for node in part.graph] == ["Relu", "Abs"]
    assert len(findings) == 1


def test_a_plugin_inside_a_branch_takes_the_if_with_it():
    model = parsed("""g (float[N,4] x, bool c) => (float[N,4] y) {
        a = Relu(x)
        y = If (c) <then_branch = t () => (float[N,4] b) { b = TRT.Plugin(a) },
                    else_branch = e () => (float[N,4] d) { d = Neg(a) }>
    }""")
    part, findings = runnable_part(model)
    assert outputs(part) == ["a"]
    assert findings[0].numbers["operator"] == "TRT:Plugin"


def test_the_models_own_functions_and_contrib_ops_are_known():
    model = parsed("g (float[N,4] x) => (float[N,4] y) { y = com.microsoft.QuickGelu(x) }")
    assert not foreign_ops(model)
    assert foreign_ops(detector()) == {("TRT", "EfficientNMS_TRT")}
