"""From the IR back to a ModelProto: what onnx_ir adds is taken away, what it cannot hold is put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from onnxcompress.errors import ResourceError
from onnxcompress.model_io.settle import HAD_VALUE_INFO, NAMED_HERE, bodies
from onnxcompress.model_io.tensors import is_text, iter_tensors, replace_tensors
from onnxcompress.model_io.walk import places, tensors

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

MAX_PROTO_BYTES = 2**31 - 1


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The whole model as one proto, weights inside.

    Raises:
        ResourceError: Where it would not fit the 2 GB that a proto can hold.
    """
    import onnx_ir as ir

    _check_fits(model)
    if any(isinstance(tensor, ir.ExternalTensor) for tensor in iter_tensors(model)):
        model = with_tensors(model, _inlined)
    return serialize(model)


def to_bytes(model: ir.Model) -> bytes:
    """The model's serialized form: same model, same bytes, in every process.

    Raises:
        ResourceError: Where it would not fit the 2 GB that a proto can hold.
    """
    return proto_bytes(to_proto(model))


def proto_bytes(proto: onnx.ModelProto) -> bytes:
    """Serialize with a fixed order of fields."""
    from google.protobuf.message import EncodeError

    try:
        return proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise _too_large(proto.ByteSize()) from error


def with_tensors(model: ir.Model, change: Callable[[ir.TensorProtocol], ir.TensorProtocol]) -> ir.Model:
    """A copy of the graph in which ``change(tensor)`` stands for every tensor; the original keeps its own."""
    copy = model.clone()
    copy.meta.update(model.meta)
    replace_tensors(copy, change)
    return copy


def serialize(model: ir.Model) -> onnx.ModelProto:
    """onnx_ir's own serialization, tidied; tensors stand in it as they are, external ones as references."""
    import onnx
    import onnx_ir as ir

    from onnxcompress.model_io.load import TRAINING_INFO

    proto = ir.to_proto(model)
    kept = _kept_value_info(model)
    unnamed = {node.name for body in bodies(model) for node in body if NAMED_HERE in node.meta}
    for place in places(proto):
        if not isinstance(place.body, onnx.FunctionProto):
            _drop_added_value_info(place.body, kept)
        for node in place.body.node:
            if node.name in unnamed:
                node.ClearField("name")
    for tensor, _ in tensors(proto):
        if len(tensor.metadata_props) > 1:
            _drop_repeated(tensor)
    for data in cast("tuple[bytes, ...]", model.meta.get(TRAINING_INFO, ())):
        proto.training_info.add().ParseFromString(data)
    return proto


def _kept_value_info(model: ir.Model) -> set[str | None]:
    """Names of initializers whose value_info was there before, or says more than type and shape."""
    return {
        value.name
        for body in bodies(model)
        for value in body.initializers.values()
        if HAD_VALUE_INFO in value.meta or value.doc_string or value.metadata_props
    }


def _drop_added_value_info(graph: onnx.GraphProto, kept: set[str | None]) -> None:
    added = {tensor.name for tensor in graph.initializer} - kept
    if any(info.name in added for info in graph.value_info):
        left = [info for info in graph.value_info if info.name not in added]
        del graph.value_info[:]
        graph.value_info.extend(left)


def _drop_repeated(tensor: onnx.TensorProto) -> None:
    """onnx_ir appends a tensor's metadata to the copy that is already there; the later value counts."""
    entries = {entry.key: entry.value for entry in tensor.metadata_props}
    if len(entries) < len(tensor.metadata_props):
        del tensor.metadata_props[:]
        for key, value in entries.items():
            tensor.metadata_props.add(key=key, value=value)


def _inlined(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """The tensor in memory; only one that lies in a file is read."""
    import onnx_ir as ir

    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    return ir.Tensor(
        tensor.numpy(),
        dtype=tensor.dtype,
        shape=tensor.shape,
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props) or None,
    )


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all numeric tensors, each counted as often as it is written."""
    return sum(tensor.nbytes for tensor in iter_tensors(model) if not is_text(tensor))


def _check_fits(model: ir.Model) -> None:
    size = weight_bytes(model)
    if size > MAX_PROTO_BYTES:
        raise _too_large(size)


def _too_large(size: int) -> ResourceError:
    return ResourceError(
        "cannot turn the model into one proto",
        why=f"it takes {size:,} bytes and a proto holds at most {MAX_PROTO_BYTES:,}",
        hint="Write it with onnxcompress.save(model, path), which puts the weights into a file beside it.",
        code="MODEL-OVER-2GB",
    )
