"""Load a model into onnx_ir with nothing lost in silence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from onnxcompress.errors import ModelError
from onnxcompress.model_io.limits import Limits
from onnxcompress.model_io.precheck import precheck

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxcompress.model_io.external import DataFolder
    from onnxcompress.report.records import Finding

NOTES = "onnxcompress.load_notes"
TRAINING_INFO = "onnxcompress.training_info"
EXTERNAL = "onnxcompress.external"


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model,
    *,
    limits: Limits | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> ir.Model:
    """The model behind a path, serialized bytes, a ModelProto, or an ir.Model (returned as it is).

    Weights in external files are mapped, never read whole. A proto that is given is not changed. What the load had
    to convert or warn of is listed in ``model.meta["onnxcompress.load_notes"]`` (see ``load_notes``).

    Args:
        source: What to load.
        limits: Caps and exceptions from the path rules; the defaults where None.
        folder: Where a proto's or byte string's external data lies; a path brings its own folder.

    Raises:
        ModelError: Where there is no readable model, or it holds something that cannot be carried.
        ResourceError: Where it asks for more than the limits allow, or may not be read.
    """
    limits = limits or Limits()
    if isinstance(source, (str, os.PathLike)):
        return _from_path(precheck(source, limits), f"cannot load {source}", limits)
    home = Path(folder).absolute() if folder is not None else None
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), "cannot load the model from bytes", home, limits)
    return _from_object(source, home, limits)


def load_notes(model: ir.Model) -> list[Finding]:
    """What loading had to convert, drop or warn of; empty for a model that was built in memory."""
    return cast("list[Finding]", model.meta.get(NOTES, []))


def _from_object(source: object, home: Path | None, limits: Limits) -> ir.Model:
    import onnx
    import onnx_ir as ir

    if isinstance(source, ir.Model):
        return source
    if isinstance(source, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
        return _import(proto, "cannot load the model", home, limits, _unknown_bytes(proto))
    raise ModelError(
        "cannot load the model",
        why=f"a {type(source).__name__} is no model",
        hint="Give a path, bytes, an onnx.ModelProto or an onnx_ir.Model.",
        code="MODEL-NOT-ONNX",
    )


def _from_path(path: Path, what: str, limits: Limits) -> ir.Model:
    """Read the file; once more where it was replaced, with its weights, between the two reads."""
    while True:
        status = path.stat()
        try:
            return _from_bytes(path.read_bytes(), what, path.parent, limits)
        except ModelError as error:
            now = path.stat()
            same = (now.st_ino, now.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
            if same or error.code != "MODEL-EXTERNAL-MISSING":
                raise


def _from_bytes(data: bytes, what: str, home: Path | None, limits: Limits) -> ir.Model:
    import onnx
    from google.protobuf.message import DecodeError

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(
            what,
            why="its bytes are not those of an ONNX model, or a part of them is damaged",
            hint="Copy, download or export the model again.",
            code="MODEL-DAMAGED",
        ) from error
    del data
    return _import(proto, what, home, limits, _unknown_bytes(proto))


def _unknown_bytes(proto: onnx.ModelProto) -> int:
    """Drop what this release of onnx has no field for; how many bytes that were."""
    before = proto.ByteSize()
    proto.DiscardUnknownFields()
    return before - proto.ByteSize()


def _import(proto: onnx.ModelProto, what: str, home: Path | None, limits: Limits, unknown: int) -> ir.Model:
    """Guard the proto, hand it to onnx_ir, and keep aside what that cannot hold."""
    from onnxcompress.model_io.expansion import check_expansion
    from onnxcompress.model_io.external import DataFolder
    from onnxcompress.model_io.guard import check_proto
    from onnxcompress.model_io.sparse import densify
    from onnxcompress.model_io.texts import check_texts
    from onnxcompress.model_io.versions import check_versions

    if not proto.HasField("graph"):
        raise ModelError(what, why="it has no graph", hint="Give an ONNX model.", code="MODEL-NOT-ONNX")
    check_versions(proto, what)
    check_texts(proto, what)
    data = DataFolder(home, limits)
    check_proto(proto, what, data)
    check_expansion(proto, what, limits.max_nodes)
    notes = [*_unknown_notes(unknown), *densify(proto, what, data), *_training_notes(proto)]
    model = _to_ir(proto, what)
    model.meta[EXTERNAL] = _map_external(model, data)
    model.meta[TRAINING_INFO] = tuple(info.SerializeToString(deterministic=True) for info in proto.training_info)
    model.meta[NOTES] = [*notes, *_settle(model, proto, what)]
    return model


def _to_ir(proto: onnx.ModelProto, what: str) -> ir.Model:
    import onnx_ir as ir

    try:
        return ir.from_proto(proto)
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError, AssertionError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ModelError(
            what,
            why=f"its graph does not hold together ({type(cause).__name__}: {str(cause)[:300]})",
            hint="Run onnx.checker.check_model on it, and export the model again.",
            code="MODEL-MALFORMED",
        ) from error


def _map_external(model: ir.Model, data: DataFolder) -> bool:
    """Put mapped views in the place of onnx_ir's own external tensors; True where there were any."""
    import onnx_ir as ir

    from onnxcompress.model_io.tensors import replace_tensors

    def mapped(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        return data.tensor(tensor) if isinstance(tensor, ir.ExternalTensor) else tensor

    return replace_tensors(model, mapped) > 0


def _settle(model: ir.Model, proto: onnx.ModelProto, what: str) -> list[Finding]:
    from onnxcompress.model_io.settle import check_sources, free_axes, mark_value_info, name_nodes, sort_nodes

    check_sources(model, what)
    freed = free_axes(model)
    mark_value_info(model, proto)
    name_nodes(model)
    return [*freed, *sort_nodes(model, what)]


def _unknown_notes(count: int) -> list[Finding]:
    from onnxcompress.report.records import Finding, Severity

    if not count:
        return []
    message = f"{count:,} bytes in fields that the installed onnx does not know were dropped"
    return [Finding("LOAD-UNKNOWN-FIELDS", message, severity=Severity.WARNING, numbers={"bytes": count})]


def _training_notes(proto: onnx.ModelProto) -> list[Finding]:
    from onnxcompress.report.records import Finding

    if not proto.training_info:
        return []
    message = "training information is carried along unchanged; it may not fit weights that a pass changes"
    return [Finding("LOAD-TRAINING-INFO", message)]
