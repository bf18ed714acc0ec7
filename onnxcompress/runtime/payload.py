"""A model in the form that ONNX Runtime reads: bytes where it fits into a protobuf, else bytes beside its weights.

A protobuf ends at 2 GiB. Above that the large initializers are named in the graph as external and handed over as they
lie in memory (or in a mapped file), so that nothing is copied and no disk is used. What ONNX Runtime does not take that
way (weights inside subgraphs, types below one byte) goes through a temporary external-data file.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import onnxruntime as ort

from onnxcompress.graph import clone, scopes
from onnxcompress.model_io import save, to_bytes

MAX_PROTO_BYTES = 2_000_000_000
"""What is still serialized in one piece; below protobuf's 2 GiB by a margin for the graph itself."""

LENT_BYTES = 4096
"""Smaller initializers stay in the graph: ONNX Runtime reads shapes from them."""


@dataclass(frozen=True)
class Payload:
    """What a session is made from.

    Attributes:
        source: The serialized model, or the path of a temporary file.
        lent: Initializers that lie outside it, by name; they must live as long as the session.
    """

    source: bytes | str
    lent: tuple[tuple[str, ort.OrtValue], ...] = ()


def initializer_tensors(model: ir.Model) -> list[ir.TensorProtocol]:
    """The tensors of every initializer of every scope, each tensor once."""
    found: dict[int, ir.TensorProtocol] = {}
    for scope in scopes(model):
        for value in scope.initializers.values() if isinstance(scope, ir.Graph) else ():
            if value.const_value is not None:
                found[id(value.const_value)] = value.const_value
    return list(found.values())


def bytes_of(tensor: ir.TensorProtocol) -> int:
    """A tensor's bytes; 0 for strings, which have no fixed size and are never what makes a model large."""
    return 0 if tensor.dtype == ir.DataType.STRING else tensor.nbytes


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, wherever they lie."""
    return sum(bytes_of(tensor) for tensor in initializer_tensors(model))


def sizes_of(tensor: ir.TensorProtocol) -> tuple[int, ...]:
    """A tensor's sizes; those of a constant are always fixed."""
    return tuple(size for size in tensor.shape if isinstance(size, int))


def stub_of(tensor: ir.TensorProtocol, name: str = "") -> ir.ExternalTensor:
    """A stand-in that has the tensor's name, type and shape, and no data."""
    label, shape = name or tensor.name or "", ir.Shape(sizes_of(tensor))
    return ir.ExternalTensor("absent", 0, tensor.nbytes, tensor.dtype, name=label, shape=shape, base_dir="")


@contextlib.contextmanager
def payload(model: ir.Model, limit: int = MAX_PROTO_BYTES) -> Generator[Payload, None, None]:
    """The model as ONNX Runtime can read it; a temporary folder lives as long as the block.

    Args:
        model: What to hand over.
        limit: Most bytes of weights in one protobuf.
    """
    if weight_bytes(model) <= limit:
        yield Payload(to_bytes(model))
        return
    copy, lent = _lend(model)
    left = sum(bytes_of(tensor) for tensor in initializer_tensors(copy) if not isinstance(tensor, ir.ExternalTensor))
    if left <= limit:
        yield Payload(ir.to_proto(copy).SerializeToString(deterministic=True), lent)
        return
    with tempfile.TemporaryDirectory(prefix="onnxcompress-") as folder:
        yield Payload(str(save(model, Path(folder) / "model.onnx", external=True)))


def _lend(model: ir.Model) -> tuple[ir.Model, tuple[tuple[str, ort.OrtValue], ...]]:
    """A copy without its large initializers, and those as ONNX Runtime's own values over the same memory."""
    copy = clone(model)
    lent: list[tuple[str, ort.OrtValue]] = []
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or bytes_of(tensor) <= LENT_BYTES or tensor.dtype.bitwidth < 8:
            continue
        lent.append((name, ort.OrtValue.ortvalue_from_numpy_with_onnx_type(tensor.numpy(), int(tensor.dtype))))
        value.const_value = stub_of(tensor, name)
    return copy, tuple(lent)
