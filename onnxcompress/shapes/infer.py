"""The shape oracle: onnx's inference, then an observed run, then ONNX Runtime's symbolic inference.

Each stage runs only where the one before it left something open. Observation comes second because it is the truth and
takes milliseconds: sizes under one probe, and under a second one with other free sizes, tell fixed axes from free ones.
The symbolic engine takes seconds and gives up on some models; it adds only expressions such as ``H/2``, so it runs
where those are asked for or where nothing could be observed.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx import shape_inference

from onnxcompress.errors import ModelError
from onnxcompress.graph import clone, scopes
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import dims_of, real_inputs, runnable_part
from onnxcompress.runtime.batching import Dim
from onnxcompress.runtime.payload import bytes_of, stub_of
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes.described import described
from onnxcompress.shapes.observe import observe, observe_branches, open_names, values_of
from onnxcompress.shapes.probe import batch_symbols, probe_feeds, symbol
from onnxcompress.shapes.table import ShapeTable

_log = logging.getLogger(__name__)

STUB_BYTES = 4096
"""Initializers above this are known by type and shape only while shapes are inferred; smaller ones may hold sizes."""


def infer(
    model: ir.Model,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    feeds: Mapping[str, np.ndarray] | None = None,
    runtime: RuntimeOptions | None = None,
    values: bool = False,
    symbolic: bool = False,
) -> ShapeTable:
    """Shapes of every tensor: symbolic dims, and sizes under one probe.

    Args:
        model: Any model; it is not edited, and what it declares of intermediate shapes is not trusted.
        shapes: Full shapes by input name, where the user gave them.
        feeds: Inputs to probe with; made by `probe_feeds` where absent.
        runtime: Custom operators for the observed run.
        values: Observe small integer tensors too, for `ShapeTable.value`.
        symbolic: Ask for expressions of free sizes, which costs seconds; else an axis that follows a free size other
            than the batch is None in `ShapeTable.dims`.

    Where no input can be made up that the model accepts, the table holds what inference alone finds, and says so in
    `ShapeTable.notes` (``SHAPES-NO-PROBE``).

    Raises:
        ModelError: Where an input declares no shape and `shapes` gives none, or nothing in the model can be run.
        UsageError: Where `shapes` does not fit the model.
    """
    part, notes = runnable_part(model, runtime)
    if feeds is None:
        feeds = _probe(part, shapes, runtime, notes)
    table = _new_table(part, feeds or {}, notes)
    bare = _stripped(part)
    _learn(table, shape_inference.infer_shapes(ir.to_proto(bare), data_prop=True), _symbols(part))
    if feeds is None:
        return table
    seen = observe(table, part, runtime, values) if values or open_names(table, part) else True
    if open_names(table, part) and (symbolic or not seen):
        _symbolic(table, bare)
    for value in part.graph.outputs:
        table.learn(value.name or "", dims_of(value), value.dtype)
    _bodies(table, part, bare)
    observe_branches(table, part, runtime)
    return table


def _probe(
    part: ir.Model,
    shapes: Mapping[str, tuple[int, ...]] | None,
    runtime: RuntimeOptions | None,
    notes: list[Finding],
) -> dict[str, np.ndarray] | None:
    try:
        return probe_feeds(part, shapes=shapes, options=runtime)
    except ModelError as fault:
        if fault.code not in ("MODEL-INPUT-TYPE", "MODEL-NO-PROBE"):
            raise
        message = f"no input could be made up ({fault.why}): shapes come from inference alone"
        notes.append(Finding("SHAPES-NO-PROBE", message, severity=Severity.WARNING))
        return None


def types(model: ir.Model) -> dict[str, ir.DataType]:
    """Element types by value name, as far as onnx's inference finds them; nothing is run."""
    table = ShapeTable()
    _learn(table, shape_inference.infer_shapes(ir.to_proto(_stripped(model))), _symbols(model))
    return {name: kind for name in table.names() if (kind := table.dtype(name)) is not None}


def _symbols(model: ir.Model) -> set[str]:
    """Names of the free sizes of the model's inputs."""
    named = (symbol(value, axis) for value in real_inputs(model) for axis in range(len(dims_of(value) or ())))
    return {name for name in named if name is not None}


def _new_table(part: ir.Model, feeds: Mapping[str, np.ndarray], notes: list[Finding]) -> ShapeTable:
    symbols: dict[str, int] = {}
    for value in real_inputs(part):
        given = feeds.get(value.name or "")
        for axis, size in enumerate(given.shape if given is not None else ()):
            key = symbol(value, axis) if dims_of(value) is not None else None
            if key is not None:
                symbols.setdefault(key, size)
    batches = batch_symbols(part)
    sizes = [symbols[name] for name in batches if name in symbols]
    table = ShapeTable(feeds, symbols, max(sizes, default=1), tuple(batches), list(notes))
    for value in part.graph.inputs:
        dims = dims_of(value)
        named = (
            None if dims is None else tuple(d if isinstance(d, int) else symbol(value, a) for a, d in enumerate(dims))
        )
        table.learn(value.name or "", named, value.dtype)
        if value.name is not None and value.name in feeds:
            table.observe(value.name, np.asarray(feeds[value.name]))
    return table


def _stripped(model: ir.Model) -> ir.Model:
    """A copy without large weights and without declared shapes of what nodes make."""
    bare = clone(model)
    for scope in scopes(bare):
        for value in scope.initializers.values() if isinstance(scope, ir.Graph) else ():
            if value.const_value is not None and bytes_of(value.const_value) > STUB_BYTES:
                value.const_value = stub_of(value.const_value)
        for node in scope:
            held = node.attributes.get("value") if node.op_type == "Constant" else None
            if held is not None and held.type == ir.AttributeType.TENSOR and bytes_of(held.as_tensor()) > STUB_BYTES:
                node.attributes["value"] = ir.AttrTensor("value", stub_of(held.as_tensor()))
            for output in node.outputs:
                output.shape = None
    return bare


def _learn(table: ShapeTable, proto: onnx.ModelProto, inputs: set[str]) -> None:
    """Take over what an inference engine wrote into a model; a name that two bodies use differently stays unknown."""
    found: dict[str, set[tuple[Dim, ...] | None]] = {}
    for name, dims, kind in described(proto):
        known = None if dims is None else tuple(_meaningful(dim, inputs) for dim in dims)
        found.setdefault(name, set()).add(known)
        if len(found[name]) == 1:
            table.learn(name, known, kind)
        else:
            table.forget(name)


def _meaningful(dim: Dim, inputs: set[str]) -> Dim:
    """A dim without the engines' invented symbols."""
    if not isinstance(dim, str) or dim in inputs:
        return dim
    try:
        return dim if ir.SymbolicDim(dim).free_symbols() <= inputs else None
    except (ValueError, TypeError):
        return None


def _bodies(table: ShapeTable, part: ir.Model, bare: ir.Model) -> None:
    """Sizes inside the bodies of If, Loop and Scan: inference again, with every outer tensor at its probed sizes."""
    if not any(True for _ in part.graph.subgraphs()):
        return
    for value in (*bare.graph.inputs, *(v for node in bare.graph for v in node.outputs)):
        sizes, kind = table.probe(value.name), table.dtype(value.name)
        if sizes is not None and kind is not None and value.name not in bare.graph.initializers:
            value.shape, value.dtype = ir.Shape(sizes), kind
    inferred = ir.from_proto(shape_inference.infer_shapes(ir.to_proto(bare), data_prop=True))
    for graph in inferred.graph.subgraphs():
        for value in values_of(graph):
            dims = dims_of(value)
            if dims is not None and all(isinstance(dim, int) for dim in dims):
                table.settle(value.name or "", tuple(int(dim or 0) for dim in dims), value.dtype)


def _symbolic(table: ShapeTable, bare: ir.Model) -> None:
    """ONNX Runtime's symbolic inference; it gives up on some models by exceptions of every kind."""
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    logging.getLogger("onnxruntime.tools.symbolic_shape_infer").setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = SymbolicShapeInference.infer_shapes(ir.to_proto(bare), auto_merge=True)
    except Exception as fault:  # noqa: BLE001 - it raises bare Exception, AssertionError, KeyError, ...; noted below
        _log.debug("symbolic shape inference gave up: %r", fault)
        message = f"ONNX Runtime's symbolic shape inference gave up ({type(fault).__name__})"
        table.notes.append(Finding("SHAPES-SYMBOLIC-GAVE-UP", message))
        return
    if found is not None:
        _learn(table, found, set(table.symbols))
