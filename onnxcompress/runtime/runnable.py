"""The part of a model that ONNX Runtime can run, where the model holds nodes that only another runtime knows.

A detector exported for TensorRT ends in plugins such as EfficientNMS_TRT. ONNX Runtime has no kernel for them, but all
that comes before can be run, measured and verified: a working copy is cut before them, and the tensors that they
would have read become its outputs. The user's model is never edited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx_ir as ir
import onnxruntime as ort
from onnx import defs

from onnxcompress.errors import ModelError
from onnxcompress.graph import clone
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime.faults import BINDING
from onnxcompress.runtime.session import Session
from onnxcompress.runtime_options import RuntimeOptions

OpId = tuple[str, str]

_REFUSALS = (
    r"(?P<domain>[\w.]*):(?P<op>\w+)\(-?\d+\) is not a registered function/op",
    r"No Op registered for (?P<op>\w+) with domain_version",
    r"Could not find an implementation for (?P<op>\w+)\(",
    r"(?P<op>\w+)(?:\(\S*\))? is not a registered",
)


def runnable_part(model: ir.Model, options: RuntimeOptions | None = None) -> tuple[ir.Model, list[Finding]]:
    """The model itself, or a copy cut before the nodes that ONNX Runtime and the custom libraries lack.

    Args:
        model: Any model; it is not edited.
        options: Custom-operator libraries to try first.

    Returns:
        The part that runs, and one finding a node that was left out.

    Raises:
        ModelError: Where nothing runnable comes before such a node.
    """
    foreign = foreign_ops(model)
    if not foreign:
        return model, []
    lacking = _lacking(model, foreign, options or RuntimeOptions())
    return _cut(model, lacking) if lacking else (model, [])


def foreign_ops(model: ir.Model) -> set[OpId]:
    """The (domain, operator) pairs that neither onnx, ONNX Runtime nor the model's own functions define.

    ONNX Runtime carries schemas without kernels for some TensorRT plugins in the default domain; those count too.
    """
    used = {(_domain(node), node.op_type) for node in model.graph.all_nodes()}
    known = {(schema.domain, schema.name) for schema in BINDING.get_all_operator_schema()}
    known |= {(key[0], key[1]) for key in model.functions}
    return {op for op in used if op not in known or (op[0] == "" and not defs.has(op[1]))} - {
        op for op in used if op[0] in ("", "ai.onnx.ml") and defs.has(op[1], op[0])
    }


def _domain(node: ir.Node) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _lacking(model: ir.Model, foreign: set[OpId], options: RuntimeOptions) -> set[OpId]:
    """Those of `foreign` that ONNX Runtime refuses, found by its own word: it names one at a time."""
    lacking: set[OpId] = set()
    while True:
        part = _cut(model, lacking)[0] if lacking else model
        try:
            Session(part, options, optimize=False)
        except ModelError as fault:
            named = _named(fault.why, foreign - lacking)
            if not named:
                return lacking or foreign
            lacking |= named
        else:
            return lacking


def _named(text: str, candidates: set[OpId]) -> set[OpId]:
    for pattern in _REFUSALS:
        found = re.search(pattern, text)
        if found:
            return {op for op in candidates if op[1] == found["op"]}
    return {op for op in candidates if re.search(rf"\b{re.escape(op[1])}\b", text)}


def _cut(model: ir.Model, lacking: set[OpId]) -> tuple[ir.Model, list[Finding]]:
    part = clone(model)
    dead, doomed, findings = _doomed(part, lacking)
    kept = [value for value in part.graph.outputs if value.name not in dead]
    kept += [value for value in _frontier(doomed, dead) if value not in kept]
    if not any(value.producer() is not None for value in kept):
        node = findings[0].node
        why = f"ONNX Runtime has no operator {findings[0].numbers['operator']}, and nothing comes before it"
        hint = "Register its library with --custom-ops."
        raise ModelError("cannot run the model", where=f"node {node}", why=why, hint=hint, code="MODEL-UNKNOWN-OP")
    part.graph.outputs[:] = kept
    part.graph.remove(doomed, safe=False)
    return part, findings


def _doomed(part: ir.Model, lacking: set[OpId]) -> tuple[set[str | None], list[ir.Node], list[Finding]]:
    """Names of the tensors, and the nodes, that a lacking operator makes or feeds."""
    dead: set[str | None] = set()
    doomed: list[ir.Node] = []
    findings: list[Finding] = []
    for node in part.graph:  # in topological order, as ONNX asks
        lacks = [inner for inner in _with_bodies(node) if (_domain(inner), inner.op_type) in lacking]
        if lacks:
            findings.append(_finding(lacks[0]))
        if lacks or any(value.name in dead for inner in _with_bodies(node) for value in inner.inputs if value):
            dead.update(value.name for value in node.outputs)
            doomed.append(node)
    return dead, doomed, findings


def _with_bodies(node: ir.Node) -> Iterator[ir.Node]:
    yield node
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield from attribute.as_graph().all_nodes()
        elif attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                yield from graph.all_nodes()


def _frontier(doomed: list[ir.Node], dead: set[str | None]) -> list[ir.Value]:
    """Tensors that surviving nodes make and doomed nodes read, in reading order."""
    found: dict[str, ir.Value] = {}
    own = set(doomed)
    for node in doomed:
        for value in (v for inner in _with_bodies(node) for v in inner.inputs if v is not None):
            maker = value.producer()
            if maker is None or maker in own or maker.graph is not node.graph or maker.op_type == "Constant":
                continue
            if value.name not in dead:
                found.setdefault(value.name or "", value)
    return list(found.values())


def _finding(node: ir.Node) -> Finding:
    name = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
    message = (
        f"ONNX Runtime {ort.__version__} has no {name}: what comes before it was run and checked, the rest was not"
    )
    numbers: dict[str, float | int | str] = {"operator": name}
    label = node.name or node.outputs[0].name or ""
    return Finding("RUNTIME-UNKNOWN-OP", message, label, Severity.WARNING, numbers)
