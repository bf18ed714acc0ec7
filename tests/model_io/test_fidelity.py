"""Nothing is lost in silence: every feature of the format is kept, converted with a finding, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from builders.io_models import external, info, matmul, model
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from onnxcompress.errors import CompressError, ModelError, ResourceError
from onnxcompress.graph import clone
from onnxcompress.model_io import Limits, load, load_notes, to_bytes, to_proto
from onnxcompress.report import Severity

ZOO: dict[str, Callable[[], onnx.ModelProto]] = {}


def kept(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    """Register a model that must come back exactly as it went in."""
    ZOO[build.__name__] = build
    return build


def _relu(**fields: object) -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"], name="relu")], [info("x", 2)], [info("y", 2)], **fields)


def _weights(*tensors: TensorProto, opset: int = 17) -> onnx.ModelProto:
    return model([], [], [], list(tensors), opset=opset)


@kept
def model_fields() -> onnx.ModelProto:
    proto = _relu(producer_name="p", producer_version="1", domain="d", model_version=3, doc_string="text")
    helper.set_model_props(proto, {"a": "1", "b": "2"})
    return proto


@kept
def graph_fields() -> onnx.ModelProto:
    proto = _relu()
    proto.graph.doc_string = "text"
    proto.graph.metadata_props.add(key="k", value="v")
    return proto


@kept
def node_fields() -> onnx.ModelProto:
    proto = _relu()
    proto.graph.node[0].doc_string = "text"
    proto.graph.node[0].metadata_props.add(key="trace", value="line 3")
    return proto


@kept
def unnamed_nodes() -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, [info("x", 2)], [info("y", 2)])


@kept
def value_fields() -> onnx.ModelProto:
    proto = unnamed_nodes()
    proto.graph.value_info.append(info("h", "batch"))
    for value in (proto.graph.input[0], proto.graph.output[0], proto.graph.value_info[0]):
        value.doc_string = "text"
        value.metadata_props.add(key="k", value="v")
    proto.graph.input[0].type.denotation = "IMAGE"
    proto.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    return proto


@kept
def input_without_shape() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"])], [_shapeless("x")], [_shapeless("y")])


def _shapeless(name: str) -> onnx.ValueInfoProto:
    value = info(name)
    value.type.tensor_type.ClearField("shape")
    return value


@kept
def initializer_fields_with_two_metadata_entries() -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.doc_string = "text"
    tensor.metadata_props.add(key="b", value="2")
    tensor.metadata_props.add(key="a", value="1")
    return _weights(tensor)


@kept
def initializer_with_value_info() -> onnx.ModelProto:
    proto = _weights(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    proto.graph.value_info.append(info("w", 2))
    return proto


@kept
def initializer_that_is_an_input() -> onnx.ModelProto:
    proto = matmul()
    proto.graph.input.append(info("w", 8, 8))
    return proto


@kept
def unused_initializer_of_a_subgraph() -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["b"])], "branch", [], [info("b", 1)], [_float("c"), _float("unused")]
    )
    choice = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    return model([choice], [], [info("y", 1)], [numpy_helper.from_array(np.array(True), "yes")])


def _float(name: str) -> TensorProto:
    return numpy_helper.from_array(np.ones(1, np.float32), name)


@kept
def quantization_annotation() -> onnx.ModelProto:
    proto = matmul()
    for name in ("x", "w", "y"):
        entry = proto.graph.quantization_annotation.add(tensor_name=name)
        entry.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    return proto


@kept
def training_info() -> onnx.ModelProto:
    proto = matmul()
    info_proto = proto.training_info.add()
    info_proto.algorithm.CopyFrom(
        helper.make_graph([helper.make_node("Neg", ["w"], ["n"])], "step", [], [info("n", 8, 8)])
    )
    info_proto.update_binding.add(key="w", value="n")
    return proto


@kept
def function_with_value_info_and_metadata() -> onnx.ModelProto:
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"], name="add")],
        [helper.make_opsetid("", 17)],
    )
    function.metadata_props.add(key="k", value="v")
    function.value_info.append(info("b", 2))
    function.doc_string = "text"
    return _calling(function)


@kept
def overloaded_function() -> onnx.ModelProto:
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
        overload="f",
    )
    proto = _calling(function)
    proto.graph.node[0].overload = "f"
    return proto


def _calling(function: onnx.FunctionProto) -> onnx.ModelProto:
    nodes = [helper.make_node(function.name, ["x"], ["y"], domain="local", name="call")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return model(nodes, [info("x", 2)], [info("y", 2)], functions=[function], opset_imports=opsets)


@kept
def multi_device_configuration() -> onnx.ModelProto:
    proto = _relu(ir_version=11)
    proto.configuration.add(name="two", num_devices=2, device=["a", "b"])
    spec = proto.graph.node[0].device_configurations.add(configuration_id="two").sharding_spec.add(tensor_name="x")
    spec.device.extend([0, 1])
    return proto


@kept
def plugin_node() -> onnx.ModelProto:
    attributes: dict[str, object] = {"empty": [], "blob": b"\xff\xfe", "many": [1.5, 2.5], "text": "t"}
    node = helper.make_node("EfficientNMS_TRT", ["x"], ["y"], name="nms", domain="TRT")
    for key, value in attributes.items():
        kind = AttributeProto.INTS if value == [] else None
        node.attribute.append(helper.make_attribute(key, value, attr_type=kind))
    node.attribute[0].doc_string = "text"
    return model(
        [node],
        [info("x", 2)],
        [info("y", 2)],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("TRT", 1)],
    )


@kept
def attributes_of_every_kind() -> onnx.ModelProto:
    node = helper.make_node("Any", ["x"], ["y"], domain="plug")
    graph = helper.make_graph([], "inner", [], [])
    for key, value in {"tensors": [_float("a"), _float("b")], "graphs": [graph], "strings": ["a", "b"]}.items():
        node.attribute.append(helper.make_attribute(key, value))
    kind = info("n", 2, "m").type
    node.attribute.append(helper.make_attribute("type", kind))
    node.attribute.append(helper.make_attribute("types", [kind, kind]))
    return model(
        [node],
        [info("x", 2)],
        [info("y", 2)],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("plug", 1)],
    )


@kept
def sequence_and_optional_inputs() -> onnx.ModelProto:
    inner = helper.make_tensor_type_proto(TensorProto.FLOAT, [2, "n"])
    inputs = [
        helper.make_value_info("s", helper.make_sequence_type_proto(inner)),
        helper.make_value_info("o", helper.make_optional_type_proto(helper.make_sequence_type_proto(inner))),
        helper.make_value_info("p", helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [2])),
    ]
    nodes = [helper.make_node("SequenceLength", ["s"], ["y"])]
    return model(nodes, inputs, [info("y", kind=TensorProto.INT64)])


@kept
def typed_data_fields() -> onnx.ModelProto:
    return _weights(
        helper.make_tensor("f", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("c", TensorProto.COMPLEX64, [1], [1 + 2j]),
        helper.make_tensor("h", TensorProto.FLOAT16, [2], [1.0, 2.0]),
        helper.make_tensor("b", TensorProto.BOOL, [2], [True, False]),
        helper.make_tensor("u", TensorProto.UINT64, [1], [7]),
        helper.make_tensor("s", TensorProto.STRING, [2], [b"a", b"\xff"]),
        helper.make_tensor("e", TensorProto.FLOAT, [0, 3], []),
        helper.make_tensor("z", TensorProto.INT64, [], [5]),
    )


@kept
def small_types() -> onnx.ModelProto:
    kinds = [TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1]
    packed = [TensorProto(name=f"p{kind}", data_type=kind, dims=[3], raw_data=b"\x21\x03") for kind in kinds]
    packed += [helper.make_tensor("i4", TensorProto.INT4, [3], [1, 2, 3])]
    bytewise = ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0")
    wide = [
        TensorProto(name=n, data_type=TensorProto.DataType.Value(n), dims=[2], raw_data=b"\x38\x40") for n in bytewise
    ]
    half = TensorProto(name="bf", data_type=TensorProto.BFLOAT16, dims=[1], raw_data=b"\x80\x3f")
    return _weights(*packed, *wide, half, opset=25)


@kept
def empty_optional_input() -> onnx.ModelProto:
    return model([helper.make_node("Clip", ["x", "", "top"], ["y"])], [info("x", 2), info("top")], [info("y", 2)])


@pytest.mark.parametrize("name", sorted(ZOO))
def test_comes_back_as_it_went_in(name: str) -> None:
    proto = ZOO[name]()
    before = proto.SerializeToString(deterministic=True)
    loaded = load(proto)
    assert _normal(to_proto(loaded)) == _normal(proto)
    assert to_bytes(load(to_bytes(loaded))) == to_bytes(loaded)
    assert to_bytes(clone(loaded)) == to_bytes(loaded)
    assert proto.SerializeToString(deterministic=True) == before, "the caller's proto was changed"


@pytest.mark.parametrize("name", sorted(ZOO))
def test_reading_every_weight_changes_nothing(name: str) -> None:
    loaded = load(ZOO[name]())
    before = to_bytes(loaded)
    for value in loaded.graph.initializers.values():
        value.const_value.numpy()
    assert to_bytes(loaded) == before


def _normal(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The order of value_info and annotations means nothing."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for field in ("value_info", "quantization_annotation"):
        entries = sorted(getattr(copy.graph, field), key=lambda entry: entry.SerializeToString(deterministic=True))
        copy.graph.ClearField(field)
        getattr(copy.graph, field).extend(entries)
    return copy


def test_unnamed_nodes_can_be_told_apart_in_memory() -> None:
    assert [node.name for node in load(unnamed_nodes()).graph] == ["h", "y"]


def test_training_info_is_announced() -> None:
    assert [note.code for note in load_notes(load(training_info()))] == ["LOAD-TRAINING-INFO"]


def test_unknown_fields_are_dropped_with_a_warning() -> None:
    unknown = bytes([0xFA, 0x7F, 3]) + b"new"  # field 2047, three bytes
    loaded = load(_relu().SerializeToString() + unknown)
    (note,) = load_notes(loaded)
    assert (note.code, note.severity, note.numbers) == ("LOAD-UNKNOWN-FIELDS", Severity.WARNING, {"bytes": 6})


def test_unsorted_nodes_are_sorted_with_a_note() -> None:
    proto = unnamed_nodes()
    nodes = sorted(proto.graph.node, key=lambda node: node.output[0], reverse=True)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    loaded = load(proto)
    assert [note.code for note in load_notes(loaded)] == ["LOAD-SORTED"]
    assert [node.outputs[0].name for node in loaded.graph] == ["h", "y"]


def test_a_model_in_memory_is_returned_as_it_is() -> None:
    loaded = load(matmul())
    assert load(loaded) is loaded
    assert load_notes(ir.from_proto(matmul())) == []


def _sparse(indices: np.ndarray, dims: list[int], values: np.ndarray | None = None) -> onnx.ModelProto:
    numbers = np.array([1.5, -2.0], np.float32) if values is None else values
    proto = model([helper.make_node("Identity", ["w"], ["y"])], [], [info("y", *dims)])
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(numbers, "w"), numpy_helper.from_array(indices, "i"), dims
    )
    proto.graph.sparse_initializer.append(sparse)
    return proto


@pytest.mark.parametrize("indices", [np.array([1, 5]), np.array([[0, 1], [1, 2]])], ids=["flat", "coordinates"])
def test_sparse_initializers_become_dense_with_a_note(indices: np.ndarray) -> None:
    loaded = load(_sparse(indices, [2, 3]))
    assert loaded.graph.initializers["w"].const_value.numpy().tolist() == [[0, 1.5, 0], [0, 0, -2.0]]
    assert [(note.code, note.node) for note in load_notes(loaded)] == [("LOAD-SPARSE-DENSIFIED", "w")]
    onnx.checker.check_model(to_proto(loaded), full_check=True)


def _fails(proto: onnx.ModelProto, limits: Limits | None = None) -> CompressError:
    with pytest.raises(CompressError) as caught:
        load(proto, limits=limits)
    error = caught.value
    assert error.why
    assert error.hint
    return error


@pytest.mark.parametrize("indices", [np.array([1, 6]), np.array([-1, 2]), np.array([[0, 3], [1, 0]]), np.array([1])])
def test_sparse_indices_out_of_place_are_refused(indices: np.ndarray) -> None:
    assert _fails(_sparse(indices, [2, 3])).code == "MODEL-SPARSE"


def test_a_sparse_bomb_is_refused() -> None:
    error = _fails(_sparse(np.array([1, 5]), [1 << 20, 1 << 20]))
    assert isinstance(error, ResourceError)
    assert error.code == "MODEL-SPARSE-TOO-LARGE"
    assert _fails(_sparse(np.array([1, 5]), [2, 3]), Limits(max_densified_bytes=23)).code == "MODEL-SPARSE-TOO-LARGE"


def _sparse_attribute() -> onnx.ModelProto:
    sparse = _sparse(np.array([1, 5]), [2, 3]).graph.sparse_initializer[0]
    node = helper.make_node("Constant", [], ["y"], name="c", sparse_value=sparse)
    return model([node], [], [info("y", 2, 3)])


def _map_output() -> onnx.ModelProto:
    proto = _relu()
    kind = proto.graph.output[0].type
    kind.Clear()
    kind.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    return proto


def _opaque_input() -> onnx.ModelProto:
    proto = _relu()
    proto.graph.input[0].type.Clear()
    proto.graph.input[0].type.opaque_type.name = "o"
    return proto


def _attribute_without_type() -> onnx.ModelProto:
    proto = _relu()
    proto.graph.node[0].attribute.add(name="a", i=3)
    return proto


def _attribute_of_another_type() -> onnx.ModelProto:
    proto = _relu()
    proto.graph.node[0].attribute.add(name="a", type=AttributeProto.INT, t=_float("lost"))
    return proto


def _shard_of_nothing() -> onnx.ModelProto:
    proto = multi_device_configuration()
    proto.graph.node[0].device_configurations[0].sharding_spec[0].tensor_name = ""
    return proto


def _current_runtime() -> bool:
    """Whether onnxruntime is as new as onnx: 1.32 is the first to know what onnx 1.23 knows."""
    return tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) >= (1, 32)


def _stray_bits() -> onnx.ModelProto:
    return _weights(TensorProto(name="w", data_type=TensorProto.FLOAT6E2M3, dims=[1], raw_data=b"\xff"), opset=28)


def _twice(proto: onnx.ModelProto) -> onnx.ModelProto:
    proto.graph.initializer.append(proto.graph.initializer[0])
    return proto


def _unnamed_initializer() -> onnx.ModelProto:
    return _weights(numpy_helper.from_array(np.ones(1)))


def _two_functions() -> onnx.ModelProto:
    proto = function_with_value_info_and_metadata()
    proto.functions.append(proto.functions[0])
    return proto


def _dangling() -> onnx.ModelProto:
    return model([helper.make_node("Add", ["x", "gone"], ["y"], name="sum")], [info("x", 2)], [info("y", 2)])


def _dangling_output() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["h"])], [info("x", 2)], [info("y", 2)])


def _two_producers() -> onnx.ModelProto:
    return model(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])], [info("x", 2)], [info("y", 2)]
    )


def _cycle() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    return model(nodes, [info("x", 2)], [info("a", 2)])


def _tensor(**fields: object) -> onnx.ModelProto:
    return _weights(TensorProto(name="w", **fields))


def _training_external() -> onnx.ModelProto:
    proto = training_info()
    proto.training_info[0].algorithm.initializer.append(external("t", [1], location="../secret.bin"))
    return proto


def _no_graph() -> onnx.ModelProto:
    proto = _relu()
    proto.ClearField("graph")
    return proto


def _broken_text() -> bytes:
    proto = _relu()
    proto.graph.node[0].name = "zzzz"
    return proto.SerializeToString().replace(b"zzzz", b"z\xff\xfez")


def test_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        load(_broken_text())
    assert caught.value.code == "MODEL-TEXT"
    assert caught.value.where == "field onnx.NodeProto.name"


def _future(**fields: object) -> onnx.ModelProto:
    return _relu(**fields)


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    "sparse attribute": (_sparse_attribute, "MODEL-SPARSE-ATTRIBUTE", "node c"),
    "map type": (_map_output, "MODEL-MAP-TYPE", "output y"),
    "opaque type": (_opaque_input, "MODEL-OPAQUE-TYPE", "input x"),
    "attribute without type": (_attribute_without_type, "MODEL-ATTRIBUTE-TYPE", "node relu"),
    "attribute of another type": (_attribute_of_another_type, "MODEL-ATTRIBUTE-TYPE", "node relu"),
    "shard of nothing": (_shard_of_nothing, "MODEL-DANGLING-INPUT", "node relu"),
    "stray bits": (_stray_bits, "MODEL-TENSOR-SIZE", "w"),
    "initializer twice": (lambda: _twice(matmul()), "MODEL-DUPLICATE-NAME", "initializer"),
    "unnamed initializer": (_unnamed_initializer, "MODEL-UNNAMED-INITIALIZER", "number 0"),
    "function twice": (_two_functions, "MODEL-DUPLICATE-NAME", "function"),
    "missing input": (_dangling, "MODEL-DANGLING-INPUT", "node sum"),
    "missing output": (_dangling_output, "MODEL-DANGLING-INPUT", "y"),
    "two producers": (_two_producers, "MODEL-MALFORMED", ""),
    "cycle": (_cycle, "MODEL-CYCLE", "graph g"),
    "undefined dtype": (lambda: _tensor(data_type=0, dims=[1]), "MODEL-TENSOR-DTYPE", "w"),
    "unknown dtype": (lambda: _tensor(data_type=99, dims=[1]), "MODEL-TENSOR-DTYPE", "w"),
    "negative dims": (lambda: _tensor(data_type=1, dims=[-4]), "MODEL-TENSOR-DIMS", "w"),
    "too few bytes": (
        lambda: _tensor(data_type=1, dims=[1 << 40, 1 << 20], raw_data=bytes(16)),
        "MODEL-TENSOR-SIZE",
        "w",
    ),
    "too few numbers": (lambda: _tensor(data_type=1, dims=[3], float_data=[1.0]), "MODEL-TENSOR-SIZE", "w"),
    "numbers in the wrong field": (lambda: _tensor(data_type=1, dims=[1], int64_data=[1]), "MODEL-TENSOR-SIZE", "w"),
    "external data in training": (_training_external, "MODEL-TRAINING-EXTERNAL", "t"),
    "no graph": (_no_graph, "MODEL-NOT-ONNX", ""),
    "future opset": (lambda: _future(opset=99), "MODEL-FUTURE-OPSET", "ai.onnx"),
    "future ml opset": (
        lambda: _future(opset_imports=[helper.make_opsetid("ai.onnx.ml", 99)]),
        "MODEL-FUTURE-OPSET",
        "ai.onnx.ml",
    ),
    "no opset": (lambda: _future(opset_imports=[]), "MODEL-NO-OPSET", ""),
    "future IR": (lambda: _future(ir_version=99), "MODEL-IR-VERSION", ""),
    "no IR": (lambda: _future(ir_version=0), "MODEL-IR-VERSION", ""),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_by_name(name: str) -> None:
    build, code, where = REFUSED[name]
    proto = build()
    if name == "stray bits" and not _current_runtime():
        pytest.skip("this onnxruntime does not know the operator set that has 6-bit floats")
    if code == "MODEL-NO-OPSET":
        del proto.opset_import[:]
    error = _fails(proto)
    assert error.code == code
    assert where in error.where
    assert isinstance(error, ModelError)


@pytest.mark.skipif(not _current_runtime(), reason="an older onnxruntime refuses the newest operator set, as it should")
def test_the_newest_versions_load() -> None:
    assert load(_relu(opset=onnx.defs.onnx_opset_version(), ir_version=onnx.IR_VERSION))


def test_a_model_newer_than_the_runtime_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    def older(*_: object, **__: object) -> None:
        raise Fail("opset under development")

    monkeypatch.setattr(onnxruntime, "InferenceSession", older)
    error = _fails(_relu(opset=24))
    assert error.code == "MODEL-FUTURE-OPSET"
    assert "onnxruntime" in error.why
    assert load(_relu(opset=23))


def test_an_unknown_domain_of_any_version_loads() -> None:
    assert load(_relu(opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 999)]))


def _chain(levels: int, *, cyclic: bool = False) -> onnx.ModelProto:
    """Functions that each call the next one twice."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = []
    for level in range(levels):
        last = level == levels - 1
        target, domain = ("Relu", "") if last and not cyclic else (f"f{(level + 1) % levels}", "local")
        nodes = [
            helper.make_node(target, ["a"], ["b"], domain=domain),
            helper.make_node(target, ["b"], ["c"], domain=domain),
        ]
        functions.append(helper.make_function("local", f"f{level}", ["a"], ["c"], nodes, opsets))
    node = helper.make_node("f0", ["x"], ["y"], domain="local")
    return model([node], [info("x", 2)], [info("y", 2)], functions=functions, opset_imports=opsets)


def test_a_bomb_of_functions_is_counted_not_expanded() -> None:
    error = _fails(_chain(60))
    assert isinstance(error, ResourceError)
    assert error.code == "MODEL-TOO-MANY-NODES"
    assert load(_chain(10))
    # 1 call, then 2 + 4 + 8 nodes in three levels
    assert load(_chain(3), limits=Limits(max_nodes=15))
    assert _fails(_chain(3), Limits(max_nodes=14)).code == "MODEL-TOO-MANY-NODES"


def test_functions_in_a_circle_are_refused() -> None:
    assert _fails(_chain(3, cyclic=True)).code == "MODEL-FUNCTION-CYCLE"
    assert _fails(_chain(1, cyclic=True)).code == "MODEL-FUNCTION-CYCLE"


def test_a_long_chain_of_functions_needs_no_stack() -> None:
    assert _fails(_chain(3000)).code == "MODEL-TOO-MANY-NODES"


def test_axes_of_negative_size_are_read_as_free() -> None:
    proto = _relu()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    loaded = load(proto)
    dims = [list(value.shape or []) for value in (*loaded.graph.inputs, *loaded.graph.outputs)]
    assert all(isinstance(dim, ir.SymbolicDim) and dim.value is None for shape in dims for dim in shape)
    assert [note.code for note in load_notes(loaded)] == ["LOAD-NEGATIVE-AXIS"]
    assert not to_proto(loaded).graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")
