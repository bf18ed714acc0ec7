"""The fidelity guard: what onnx_ir would lose or misread is refused by name, before it gets that far.

Every rule here has a case in the round-trip zoo of the tests. What can be kept is kept by ``load`` and ``proto``
(training info, value_info); what can be converted without loss is converted with a finding (sparse initializers).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnxcompress.errors import ModelError
from onnxcompress.model_io.walk import attributes, node_name, places, tensors, types

if TYPE_CHECKING:
    import onnx

    from onnxcompress.model_io.external import DataFolder

_EXTERNAL = 1  # TensorProto.EXTERNAL
_STRING = 8  # TensorProto.STRING
_SIX_BITS = 6
_REFUSED_TYPES = {
    "map_type": (
        "a map",
        "Export it without maps: for scikit-learn models options={'zipmap': False} in skl2onnx.to_onnx.",
        "MODEL-MAP-TYPE",
    ),
    "opaque_type": ("an opaque type", "Export the model without that type.", "MODEL-OPAQUE-TYPE"),
}


def check_proto(proto: onnx.ModelProto, what: str, folder: DataFolder) -> None:
    """Refuse whatever the IR cannot carry, and every tensor whose data does not fit its shape.

    Args:
        proto: The model as parsed.
        what: First clause of a message, e.g. ``cannot load model.onnx``.
        folder: Where external data is looked for.

    Raises:
        ModelError: With a code that says what was found.
    """
    _check_types(proto, what)
    _check_attributes(proto, what)
    _check_names(proto, what)
    for tensor, where in tensors(proto):
        check_tensor(tensor, what, where, folder)
    for tensor, where in _training_tensors(proto):
        if tensor.data_location == _EXTERNAL:
            raise _refusal(
                what,
                where,
                "training information with external data cannot be carried along",
                "Remove training_info from the model (model.ClearField('training_info')).",
                "MODEL-TRAINING-EXTERNAL",
            )


def check_tensor(tensor: onnx.TensorProto, what: str, where: str, folder: DataFolder) -> None:
    """Refuse a tensor whose data does not fit its type and dims.

    Raises:
        ModelError: MODEL-TENSOR-DTYPE, -DIMS, -SIZE, or one of the MODEL-EXTERNAL codes.
    """
    bits = dtype_bits(tensor.data_type)
    if bits is None:
        why = f"its data type {tensor.data_type} is not known"
        raise _refusal(what, where, why, "Export the model again.", "MODEL-TENSOR-DTYPE")
    if any(dim < 0 for dim in tensor.dims):
        raise _refusal(what, where, f"its dims are {list(tensor.dims)}", "Export the model again.", "MODEL-TENSOR-DIMS")
    count = math.prod(tensor.dims)
    if tensor.data_location == _EXTERNAL:
        folder.check(tensor, what, where, None if tensor.data_type == _STRING else -(-count * bits // 8))
        return
    wanted, found, unit = _stored(tensor, count, bits)
    if wanted != found:
        raise _refusal(
            what,
            where,
            f"dims {list(tensor.dims)} ask for {wanted:,} {unit}, but {found:,} are stored",
            "The file is damaged; copy or export the model again.",
            "MODEL-TENSOR-SIZE",
        )


def dtype_bits(data_type: int) -> int | None:
    """Bits an element in storage; 0 for strings, None for a type that is undefined or unknown."""
    import onnx_ir as ir

    if data_type == _STRING:
        return 0
    try:
        return ir.DataType(data_type).bitwidth or None
    except (ValueError, TypeError):
        return None


def _stored(tensor: onnx.TensorProto, count: int, bits: int) -> tuple[int, int, str]:
    """How much the dims ask for and how much is there, in one unit."""
    from onnx.helper import tensor_dtype_to_field

    if tensor.HasField("raw_data"):
        if bits == _SIX_BITS and tensor.raw_data and not _is_canonical(tensor):
            return 0, 1, "padding bits"
        return -(-count * bits // 8), len(tensor.raw_data), "bytes"
    found = len(getattr(tensor, tensor_dtype_to_field(tensor.data_type)))
    if bits in (2, 4):
        return -(-count * bits // 8), found, "packed numbers"
    # A complex number takes two entries of its field.
    parts = 2 if tensor.data_type in (14, 15) else 1
    return count * parts, found, "numbers"


def _is_canonical(tensor: onnx.TensorProto) -> bool:
    """True where six-bit numbers leave no stray bits behind the last one; onnx_ir would refuse to write them."""
    import onnx_ir as ir

    try:
        ir.serde.deserialize_tensor(tensor).numpy()
    except (ValueError, ir.serde.SerdeError):
        return False
    return True


def _check_types(proto: onnx.ModelProto, what: str) -> None:
    for found, where in types(proto):
        kind = _refused_kind(found)
        if kind:
            name, hint, code = _REFUSED_TYPES[kind]
            raise _refusal(what, where, f"its type is {name}, which is not supported", hint, code)


def _refused_kind(type_proto: onnx.TypeProto) -> str:
    kind = type_proto.WhichOneof("value")
    while kind in ("sequence_type", "optional_type"):
        type_proto = getattr(type_proto, kind).elem_type
        kind = type_proto.WhichOneof("value")
    return kind if kind in _REFUSED_TYPES else ""


def _check_attributes(proto: onnx.ModelProto, what: str) -> None:
    for place in places(proto):
        for node, attribute in attributes(place.body):
            where = place.of(f"attribute {attribute.name} of node {node_name(node)}")
            if attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors):
                raise _refusal(
                    what,
                    where,
                    "a sparse tensor in an attribute is not supported",
                    "Export the model with a dense constant there.",
                    "MODEL-SPARSE-ATTRIBUTE",
                )
            why = _type_trouble(attribute)
            if why:
                raise _refusal(what, where, why, "Export the model again.", "MODEL-ATTRIBUTE-TYPE")


def _type_trouble(attribute: onnx.AttributeProto) -> str:
    """Why the declared type does not fit what the attribute holds; empty where it does."""
    if attribute.type == 0 and not attribute.ref_attr_name:
        return "the attribute has no type"
    held = {4: attribute.HasField("t"), 5: attribute.HasField("g"), 13: attribute.HasField("tp")}
    held |= {9: len(attribute.tensors), 10: len(attribute.graphs), 14: len(attribute.type_protos)}
    if any(there and kind != attribute.type for kind, there in held.items()):
        return f"it holds something else than its type {attribute.type} says"
    return ""


def _check_names(proto: onnx.ModelProto, what: str) -> None:
    for place in places(proto):
        names = [tensor.name for tensor in getattr(place.body, "initializer", ())]
        names += [sparse.values.name for sparse in getattr(place.body, "sparse_initializer", ())]
        if not all(names):
            raise _refusal(
                what,
                place.of(f"initializer number {names.index('')}"),
                "it has no name",
                "Export the model again.",
                "MODEL-UNNAMED-INITIALIZER",
            )
        _refuse_repeated(names, what, place.of("initializer"))
    _refuse_repeated([f"{f.domain}::{f.name}:{f.overload}" for f in proto.functions], what, "function")


def _refuse_repeated(names: list[str], what: str, where: str) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise _refusal(
            what,
            where,
            f"{repeated[0]} is defined twice",
            "Export the model again.",
            "MODEL-DUPLICATE-NAME",
        )


def _training_tensors(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, str]]:
    import onnx

    for info in proto.training_info:
        for graph in (info.initialization, info.algorithm):
            yield from tensors(onnx.ModelProto(graph=graph))


def _refusal(what: str, where: str, why: str, hint: str, code: str) -> ModelError:
    return ModelError(what, where=where, why=why, hint=hint, code=code)
