"""Models that only say what they take: every input goes through Identity."""

from __future__ import annotations

import onnx_ir as ir


def model_taking(*inputs: str) -> ir.Model:
    """A model with inputs given as ONNX text, e.g. ``model_taking("float[N,3,8,8] x", "int64[N] ids")``."""
    names = [text.rpartition(" ")[2] for text in inputs]
    types = [text.rpartition(" ")[0] for text in inputs]
    outputs = ", ".join(f"{kind} {name}_out" for kind, name in zip(types, names, strict=True))
    body = " ".join(f"{name}_out = Identity({name})" for name in names)
    header = '<ir_version: 10, opset_import: ["" : 21]>'
    return ir.from_onnx_text(f"{header} g ({', '.join(inputs)}) => ({outputs}) {{ {body} }}")
