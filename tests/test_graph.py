"""The small functions over the IR: cloning, scopes, constants, names, patterns."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress import graph
from onnxcompress.errors import InternalError, UsageError
from onnxcompress.model_io import load, to_bytes

TEXT = """
<ir_version: 10, opset_import: ["": 17, "local": 1]>
g (float[2] x, bool yes) => (float[2] y)
<float[2] w = {1, 2}>
{
  c = Constant <value = float[2] {3, 4}> ()
  [named] h = Add (x, w)
  k = local.Twice (h)
  y = If (yes) <
    then_branch = inner () => (float[2] a) { a = Mul (k, c) },
    else_branch = other () => (float[2] b) <float[2] v = {5, 6}> { b = Sub (k, v) }
  >
}
<domain: "local", opset_import: ["": 17]>
Twice (p) => (q) { q = Add (p, p) }
"""


@pytest.fixture
def model() -> ir.Model:
    import onnx

    return load(onnx.parser.parse_model(TEXT))


def node(model: ir.Model, label: str) -> ir.Node:
    return next(each for each in graph.iter_nodes(model) if graph.label(each) == label)


def test_scopes_are_the_graph_its_bodies_and_functions(model: ir.Model) -> None:
    assert [type(scope).__name__ for scope in graph.scopes(model)] == ["Graph", "Graph", "Graph", "Function"]
    assert sorted(each.op_type for each in graph.iter_nodes(model)) == [
        "Add",
        "Add",
        "Constant",
        "If",
        "Mul",
        "Sub",
        "Twice",
    ]


def test_a_clone_is_equal_and_independent(model: ir.Model) -> None:
    before = to_bytes(model)
    model.meta["onnxcompress.kept"] = {"h": {0: [1]}}
    copy = graph.clone(model)
    assert to_bytes(copy) == before
    assert copy.meta["onnxcompress.kept"] == {"h": {0: [1]}}
    assert copy.graph.initializers["w"].const_value is model.graph.initializers["w"].const_value
    graph.set_constant(copy.graph.initializers["w"], np.zeros(2, np.float32))
    node(copy, "named").op_type = "Mul"
    assert to_bytes(model) == before
    assert to_bytes(copy) != before


def test_constants_are_initializers_and_constant_nodes(model: ir.Model) -> None:
    weight, constant = model.graph.initializers["w"], node(model, "c").outputs[0]
    assert graph.array_of(weight).tolist() == [1, 2]
    assert graph.array_of(constant).tolist() == [3, 4]
    assert not graph.is_constant(model.graph.inputs[0])
    assert not graph.is_constant(node(model, "named").outputs[0])
    assert graph.array_of(None) is None


def test_an_initializer_that_callers_may_override_is_not_constant(model: ir.Model) -> None:
    model.graph.inputs.append(model.graph.initializers["w"])
    assert not graph.is_constant(model.graph.initializers["w"])


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("value_int = 3", np.array(3)),
        ("value_ints = [3, 4]", np.array([3, 4])),
        ("value_float = 1.5", np.array(1.5, np.float32)),
        ("value_floats = [1.5]", np.array([1.5], np.float32)),
    ],
)
def test_short_forms_of_constant_nodes(text: str, want: np.ndarray) -> None:
    model = ir.from_onnx_text(f'<ir_version: 10, opset_import: ["": 17]> g () => (y) {{ y = Constant <{text}> () }}')
    found = graph.array_of(model.graph.outputs[0])
    assert found.dtype == want.dtype
    np.testing.assert_array_equal(found, want)


def test_text_constants_have_no_tensor() -> None:
    text = '<ir_version: 10, opset_import: ["": 17]> g () => (y) { y = Constant <value_string = "a"> () }'
    assert graph.tensor_of(ir.from_onnx_text(text).graph.outputs[0]) is None


def test_constants_can_be_set_in_both_forms(model: ir.Model) -> None:
    for value in (model.graph.initializers["w"], node(model, "c").outputs[0]):
        graph.set_constant(value, np.ones((1, 2), np.float64))
        assert graph.array_of(value).tolist() == [[1, 1]]
        assert value.shape.numpy() == (1, 2)
        assert value.dtype == ir.DataType.DOUBLE
    with pytest.raises(InternalError):
        graph.set_constant(model.graph.inputs[0], np.ones(2))


def test_setting_a_constant_keeps_what_is_written_about_it(model: ir.Model) -> None:
    value = model.graph.initializers["w"]
    value.const_value = ir.tensor(np.zeros(2, np.float32), name="w", doc_string="text")
    value.const_value.metadata_props["k"] = "v"
    graph.set_constant(value, np.ones(2, np.float32))
    assert (value.const_value.doc_string, value.const_value.metadata_props) == ("text", {"k": "v"})


def test_names_of_all_scopes_are_taken(model: ir.Model) -> None:
    assert {"x", "yes", "y", "w", "c", "named", "h", "k", "a", "b", "v", "p", "q"} <= graph.all_names(model)


def test_fresh_names() -> None:
    taken = {"a", "a_1"}
    assert [graph.fresh_name(taken, "a"), graph.fresh_name(taken, "a"), graph.fresh_name(taken, "b")] == [
        "a_2",
        "a_3",
        "b",
    ]
    assert taken == {"a", "a_1", "a_2", "a_3", "b"}


def test_new_initializers_are_registered_with_type_and_shape(model: ir.Model) -> None:
    value = graph.add_initializer(model.graph, "new", np.zeros((2, 3), np.int8))
    assert model.graph.initializers["new"] is value
    assert (value.dtype, value.shape.numpy(), value.const_value.name) == (ir.DataType.INT8, (2, 3), "new")


def test_attributes_and_opsets(model: ir.Model) -> None:
    assert graph.attribute(node(model, "named"), "axis", 7) == 7
    assert graph.opset(model) == 17
    assert graph.opset(model, "nowhere") == 0


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("named", {"named"}),
        ("h", {"named"}),
        ("op:Add", {"named", "q"}),
        ("re:^[ab]$", {"a", "b"}),
        ("re:nam.d", {"named"}),
    ],
)
def test_patterns(model: ir.Model, pattern: str, want: set[str]) -> None:
    assert graph.select_nodes(model, (pattern,)) == want


def test_patterns_tell_unnamed_nodes_apart_in_models_from_memory() -> None:
    text = '<ir_version: 10, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { h = Relu (x)  y = Neg (h) }'
    assert graph.select_nodes(ir.from_onnx_text(text), ("op:Neg",)) == {"y"}


@pytest.mark.parametrize(
    ("pattern", "code"),
    [("gone", "USAGE-PATTERN-UNMATCHED"), ("", "USAGE-PATTERN-UNMATCHED"), ("re:(", "USAGE-PATTERN-INVALID")],
)
def test_bad_patterns_are_refused(model: ir.Model, pattern: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        graph.select_nodes(model, (pattern,))
    assert caught.value.code == code
    assert caught.value.hint


def test_scope_without_strictness(model: ir.Model) -> None:
    everything = graph.in_scope(model)
    assert graph.in_scope(model, exclude=("op:Add", "gone")) == everything - {"named", "q"}
    assert graph.in_scope(model, only=("op:Add",), exclude=("q",)) == {"named"}
