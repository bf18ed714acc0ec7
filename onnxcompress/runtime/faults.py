"""ONNX Runtime's exceptions, turned into errors that name the node and give its reason in one clean sentence."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from onnxcompress.errors import CompressError, DataError, ModelError, ResourceError

BINDING: Any = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
"""ONNX Runtime's native module, which has no type stubs."""

ORT_ERRORS: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in (getattr(BINDING, name) for name in sorted(dir(BINDING)))
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    RuntimeError,
    ValueError,
)
"""Everything that ONNX Runtime's Python binding raises; its classes share no base of their own."""

_INPUT_WORDS = ("input feed", "for input:", "Unexpected input data type", "Invalid input name", "Invalid rank")
_NOISE = (
    r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ",
    r"^(Fatal error: |Exception during initialization: |Load model from .*? failed:)",
    r"Non-zero status code returned while running .*? Status Message: ",
    r"(/[\w.\-]+)+\.(cc|h|hpp|cpp):\d+",
    r"(?:[\w:<>&*]+ )*onnxruntime::[\w:<>~]+\([^)]*\)( const)?",
    r"Please fix either the inputs/outputs or the model\.",
)
_NODE_PATTERNS = (
    r"node\. Name:'([^']*)'",
    r"node with name '([^']*)'",
    r"Node \(([^)]*)\)",
    r"In Node, \(\"([^\"]*)\"",
    r"Node:\s*([^\s,]+)",
    r"while running (\w+ node)",
)


def node_of(text: str) -> str:
    """Name of the node that ONNX Runtime's message blames; empty where it names none."""
    for pattern in _NODE_PATTERNS:
        found = re.search(pattern, text)
        if found and found.group(1):
            return found.group(1)
    return ""


def reason_of(text: str) -> str:
    """ONNX Runtime's reason as one clause: no codes, no source paths, no C++ signatures, no line breaks."""
    for pattern in _NOISE:
        text = re.sub(pattern, " ", text.strip())
    return re.sub(r"\s+", " ", text).strip(" .")[:400]


def load_error(fault: Exception) -> CompressError:
    """The error for a model that ONNX Runtime does not load."""
    text = str(fault)
    if "bad allocation" in text or "Failed to allocate" in text:
        return _memory_error("load the model", text)
    if "protobuf parsing failed" in text:
        why, hint = "it is not a complete ONNX file", "Export or copy the file again."
        return ModelError("cannot load the model", why=why, hint=hint, code="MODEL-PARSE")
    hint = "Check the model with `onnx.checker`, or register its library with --custom-ops."
    return _model_error("ONNX Runtime cannot load the model", text, hint, "MODEL-ORT-LOAD")


def run_error(fault: Exception) -> CompressError:
    """The error for a model that loads and then fails on its inputs."""
    text = str(fault)
    if "bad allocation" in text or "Failed to allocate" in text:
        return _memory_error("run the model", text)
    if any(words in text for words in _INPUT_WORDS):
        hint = "Check names, shapes and data types against `onnxcompress inspect MODEL`."
        return DataError("the data does not fit the model", why=reason_of(text), hint=hint, code="DATA-MISFIT")
    hint = "Give sizes that the model accepts with --shape NAME:1x3x224x224, or check the data."
    return _model_error("ONNX Runtime cannot run the model", text, hint, "MODEL-ORT-RUN")


def _model_error(what: str, text: str, hint: str, code: str) -> ModelError:
    node = node_of(text)
    return ModelError(
        what,
        where=node if node.endswith(" node") else f"node {node}" if node else "",
        why=reason_of(text),
        hint=hint,
        code=code,
    )


def _memory_error(doing: str, text: str) -> ResourceError:
    why, hint = f"ONNX Runtime ran out of memory: {reason_of(text)}", "Use a smaller --shape or more memory."
    return ResourceError(f"cannot {doing}", why=why, hint=hint, code="RESOURCE-MEMORY")
