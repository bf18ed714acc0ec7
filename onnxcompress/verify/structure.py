"""Structure: the onnx checker with strict shape inference, then ONNX Runtime's own word, without and with fusions.

The checker is necessary and never sufficient: it accepts models that do not load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from onnx import checker, shape_inference

from onnxcompress.errors import CompressError
from onnxcompress.graph import clone
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import Session, foreign_ops, runnable_part
from onnxcompress.runtime.payload import bytes_of, sizes_of
from onnxcompress.verify.failure import VerifyFailure

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

_LIGHT_BYTES = 1 << 16
"""Initializers above this are checked by type and shape only: the checker needs no numbers."""


def check_structure(model: ir.Model, ctx: Context | None = None) -> list[Finding]:
    """Hold a pass's result to the checker and to ONNX Runtime.

    Args:
        model: The result.
        ctx: Its `runtime` is used; what already ailed its `original` is noted and not blamed on the pass.

    Returns:
        Notes: nodes that could not be run, complaints that the input model had too.

    Raises:
        VerifyFailure: Where the checker refuses the model or ONNX Runtime does not load it.
    """
    options = ctx.runtime if ctx is not None else None
    part, notes = runnable_part(model, options)
    complaint = checker_complaint(model)
    if complaint and (ctx is None or not checker_complaint(ctx.original)):
        hint = "Please report it with the model; --exclude leaves that node alone."
        raise VerifyFailure("the result is not a valid ONNX model", why=complaint, hint=hint, code="VERIFY-CHECKER")
    if complaint:
        message = f"the input model does not pass onnx.checker either: {complaint}"
        notes.append(Finding("VERIFY-INPUT-INVALID", message, severity=Severity.WARNING))
    for optimize in (False, True):
        try:
            Session(part, options, optimize=optimize)
        except CompressError as fault:
            how = "with" if optimize else "without"
            what = f"ONNX Runtime does not load the result ({how} its optimizations)"
            hint = "Please report it with the model; --exclude leaves that node alone."
            raise VerifyFailure(what, where=fault.where, why=fault.why, hint=hint, code="VERIFY-ORT-LOAD") from fault
    return notes


def checker_complaint(model: ir.Model) -> str:
    """What the checker says against the model, in one clause; empty where it says nothing.

    Operators of the default domain that only another runtime defines make the checker useless: it is not asked.
    """
    if any(domain == "" for domain, _ in foreign_ops(model)):
        return ""
    try:
        checker.check_model(_light_proto(model), full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as fault:
        return " ".join(str(fault).split())[:400]
    return ""


def inference_complaint(model: ir.Model) -> str:
    """What strict shape inference says that also carries the values of sizes along; empty where it says nothing.

    The checker's own inference does not follow shape arithmetic.
    """
    if foreign_ops(model):
        return ""
    try:
        shape_inference.infer_shapes(_light_proto(model), check_type=True, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError as fault:
        return " ".join(str(fault).split())[:400]
    return ""


def _light_proto(model: ir.Model) -> onnx.ModelProto:
    """The model with large or external initializers turned into inputs, so that it fits a protobuf of any size."""
    copy = clone(model)
    graph = copy.graph
    inputs = set(graph.inputs)
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or (bytes_of(tensor) <= _LIGHT_BYTES and not isinstance(tensor, ir.ExternalTensor)):
            continue
        graph.initializers.pop(name)
        value.shape, value.type = ir.Shape(sizes_of(tensor)), ir.TensorType(tensor.dtype)
        if value not in inputs:
            graph.inputs.append(value)
    return ir.to_proto(copy)
