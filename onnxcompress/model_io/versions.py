"""Refuse models that are newer than what is installed here can read or run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxcompress.errors import ModelError

if TYPE_CHECKING:
    import onnx

# What the oldest ONNX Runtime that we accept is known to run; it is asked only above that.
_RUNTIME_OPSET, _RUNTIME_IR = 23, 11


def check_versions(proto: onnx.ModelProto, what: str) -> None:
    """Refuse an unknown IR version or operator set.

    Only the domains that onnx itself defines have a known newest version; others (com.microsoft, plug-ins) pass.

    Raises:
        ModelError: MODEL-IR-VERSION, MODEL-FUTURE-OPSET or MODEL-NO-OPSET.
    """
    _check_ir_version(proto.ir_version, what)
    imports = [*proto.opset_import, *(entry for function in proto.functions for entry in function.opset_import)]
    if proto.ir_version >= 3 and not proto.opset_import:
        raise ModelError(
            what,
            why="it names no operator set, so its operators have no meaning; the file may be cut off",
            hint="Copy or export the model again.",
            code="MODEL-NO-OPSET",
        )
    newest = _newest_opsets()
    for entry in imports:
        known = newest.get(entry.domain or "ai.onnx")
        if known is not None and entry.version > known:
            _refuse_opset(entry, known, what)
    _check_runtime(proto, what)


def _check_ir_version(version: int, what: str) -> None:
    import onnx

    if version > onnx.IR_VERSION:
        raise ModelError(
            what,
            why=f"its IR version is {version}; onnx {onnx.__version__} knows them up to {onnx.IR_VERSION}",
            hint="Update onnx and onnxruntime, or export the model with an older IR version.",
            code="MODEL-IR-VERSION",
        )
    if version < 1:
        raise ModelError(
            what,
            why="it has no IR version, so it is no ONNX model or it is damaged",
            hint="Export the model again.",
            code="MODEL-IR-VERSION",
        )


def _newest_opsets() -> dict[str, int]:
    from onnx.helper import OP_SET_ID_VERSION_MAP

    newest: dict[str, int] = {}
    for domain, version in OP_SET_ID_VERSION_MAP:
        newest[domain] = max(version, newest.get(domain, 0))
    # The preview domain is listed with the versions of the main one; it says nothing about real limits.
    newest.pop("ai.onnx.preview", None)
    return newest


def _refuse_opset(entry: onnx.OperatorSetIdProto, known: int, what: str) -> None:
    import onnx

    domain = entry.domain or "ai.onnx"
    raise ModelError(
        what,
        where=f"operator set {domain}",
        why=f"the model asks for version {entry.version}; onnx {onnx.__version__} knows them up to {known}",
        hint=f"Export the model with operator set {known} or older, or install a newer onnx and onnxruntime.",
        code="MODEL-FUTURE-OPSET",
    )


def _check_runtime(proto: onnx.ModelProto, what: str) -> None:
    """Ask ONNX Runtime itself about versions that are new: onnx may be ahead of it."""
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if opset <= _RUNTIME_OPSET and proto.ir_version <= _RUNTIME_IR:
        return
    import onnxruntime
    from onnx import TensorProto, helper
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
    versions = [helper.make_opsetid("", opset)]
    probe = helper.make_model(graph, opset_imports=versions, ir_version=proto.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf) as error:
        raise ModelError(
            what,
            where=f"operator set ai.onnx {opset}, IR version {proto.ir_version}",
            why=f"onnxruntime {onnxruntime.__version__} does not run models that new",
            hint="Install a newer onnxruntime, or export the model with an older operator set and IR version.",
            code="MODEL-FUTURE-OPSET",
        ) from error
