"""A name for a model's content that does not depend on how its weights are stored."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from onnxcompress.model_io.proto import proto_bytes, serialize, with_tensors
from onnxcompress.model_io.tensors import chunks, is_text, reference

if TYPE_CHECKING:
    import onnx_ir as ir


def fingerprint(model: ir.Model) -> str:
    """sha256 over structure and weights, hexadecimal.

    Every tensor is replaced by a reference that holds the digest of its bytes, one tensor at a time, and the small
    proto that is left is hashed. So a model of any size needs no more memory than its largest tensor, and a model
    whose weights lie in a file has the fingerprint of the same model with the weights inside.
    """
    return hashlib.sha256(proto_bytes(serialize(with_tensors(model, _digest_of)))).hexdigest()


def _digest_of(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if is_text(tensor):
        return tensor
    digest = hashlib.sha256()
    for chunk in chunks(tensor):
        digest.update(chunk)
    return reference(tensor, f"sha256:{digest.hexdigest()}", None, None)
