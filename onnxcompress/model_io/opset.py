"""Raise a model to a newer operator set, by onnx's own converter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxcompress.errors import ModelError

if TYPE_CHECKING:
    import onnx_ir as ir


_FREE_INITIALIZERS = 4
"""From this IR version on, an initializer need not be a graph input."""


def raise_opset(model: ir.Model, version: int) -> None:
    """Convert the default domain of `model` to `version`, in place; nothing where it is that new already.

    Names of inputs, outputs and initializers stay. The model's own functions are written out where they are called,
    because the converter leaves their bodies at the old operator set.

    Raises:
        ModelError: MODEL-OPSET where the converter cannot do it.
    """
    import onnx_ir as ir
    from onnx import inliner, version_converter

    from onnxcompress.model_io.proto import to_proto

    have = model.graph.opset_imports.get("", 0)
    if have >= version or not have:
        return
    proto = to_proto(model)
    others = [entry for entry in proto.opset_import if entry.domain not in ("", "ai.onnx")]
    proto.ir_version = max(
        proto.ir_version, _FREE_INITIALIZERS
    )  # the converter takes IR 3's inputs off, then misses them
    try:
        flat = inliner.inline_local_functions(proto, convert_version=True) if proto.functions else proto
        converted = version_converter.convert_version(flat, version)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise ModelError(
            f"cannot raise the model from operator set {have} to {version}",
            why=str(error).strip().splitlines()[-1][:300],
            hint=f"Export the model with operator set {version} or newer.",
            code="MODEL-OPSET",
        ) from error
    present = {entry.domain for entry in converted.opset_import}
    converted.opset_import.extend(entry for entry in others if entry.domain not in present)
    raised = ir.from_proto(converted)
    _take_over(model, raised)


def _take_over(model: ir.Model, raised: ir.Model) -> None:
    """Put the converted graph into the model that the caller holds; the converter lists initializers as inputs."""
    inputs = {value.name for value in model.graph.inputs}
    kept = [value for value in raised.graph.inputs if value.name in inputs]
    for old, new in zip(model.graph.outputs, raised.graph.outputs, strict=True):
        if old.shape is not None:
            new.shape, new.type = old.shape, old.type  # the converter writes sizes that it infers in place of names
    raised.graph.inputs.clear()
    raised.graph.inputs.extend(kept)
    raised.graph.name = model.graph.name
    raised.graph.metadata_props.update(model.graph.metadata_props)
    raised.graph.meta.update(model.graph.meta)
    model.graph = raised.graph
    model.functions.clear()
    model.ir_version = max(model.ir_version, raised.ir_version)
