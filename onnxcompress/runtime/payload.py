"""A model in the form that ONNX Runtime reads: bytes where it fits into a protobuf, else a temporary folder.

A protobuf ends at 2 GiB. A model whose weights lie in one folder of external data is handed over as bytes plus the
name of that folder, so nothing is copied. Only what fits neither way is written to a temporary external-data file.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from onnxcompress.graph import clone, scopes
from onnxcompress.model_io import to_bytes

MAX_PROTO_BYTES = 2_000_000_000
"""What is still serialized in one piece; below protobuf's 2 GiB by a margin for the graph itself."""


@dataclass(frozen=True)
class Payload:
    """What a session is made from.

    Attributes:
        source: The serialized model, or the path of a temporary file.
        weights_folder: Folder that external data of a serialized model lies in; empty where there is none.
    """

    source: bytes | str
    weights_folder: str = ""


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


@contextlib.contextmanager
def payload(model: ir.Model, limit: int = MAX_PROTO_BYTES) -> Generator[Payload, None, None]:
    """The model as ONNX Runtime can read it; a temporary folder lives as long as the block.

    Args:
        model: What to hand over.
        limit: Most bytes of weights in one protobuf.
    """
    tensors = initializer_tensors(model)
    external = [tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor)]
    folders = {str(Path(tensor.path).resolve().parent) for tensor in external}
    inside = sum(bytes_of(tensor) for tensor in tensors if not isinstance(tensor, ir.ExternalTensor))
    flat = all(Path(str(tensor.location)).name == str(tensor.location) for tensor in external)
    if inside <= limit and not external:
        yield Payload(to_bytes(model))
    elif inside <= limit and len(folders) == 1 and flat:
        yield Payload(to_bytes(model), folders.pop())
    else:
        with tempfile.TemporaryDirectory(prefix="onnxcompress-") as folder:
            path = Path(folder) / "model.onnx"
            ir.save(clone(model), path, external_data="weights.bin")
            yield Payload(str(path))
