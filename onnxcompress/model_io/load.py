"""Load a model into onnx_ir."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxcompress.errors import ModelError


def load(source: str | os.PathLike[str] | onnx.ModelProto | ir.Model) -> ir.Model:
    """The model behind a path, a proto or an ir.Model (returned as it is).

    Raises:
        ModelError: Where there is no readable model.
    """
    if isinstance(source, ir.Model):
        return source
    if isinstance(source, onnx.ModelProto):
        return ir.from_proto(source)
    path = Path(source).absolute()
    if not path.is_file():
        raise ModelError(f"cannot load {source}", why="there is no such file", hint="Check the path.")
    return ir.load(path)
