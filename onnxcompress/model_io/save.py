"""Write a model, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import onnx
import onnx_ir as ir


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The model as a proto; what the loader kept aside is attached again."""
    return ir.to_proto(model)


def to_bytes(model: ir.Model) -> bytes:
    """The model's serialized form: same model, same bytes."""
    return to_proto(model).SerializeToString(deterministic=True)


def fingerprint(model: ir.Model) -> str:
    """sha256 over structure and weights, hexadecimal."""
    return hashlib.sha256(to_bytes(model)).hexdigest()


def save(model: ir.Model, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write `model` to `path`.

    Args:
        model: What to write.
        path: Target file.
        force: Replace an existing file.
    """
    target = Path(path).absolute()
    target.write_bytes(to_bytes(model))
    return target
