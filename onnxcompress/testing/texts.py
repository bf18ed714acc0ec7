"""Rewrites as text: the model before, the pass, the model after, in ONNX's own text format."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxcompress.graph import clone, scopes
from onnxcompress.passes.base import Pass
from onnxcompress.testing.contexts import context

# What a text without a header of its own is taken to be.
_HEADER = '<ir_version: 10, opset_import: ["": 18]>\n'


def model_of(text: str) -> ir.Model:
    """The model behind a text in ONNX's format; a text that begins with its graph gets IR 10 and opset 18."""
    return ir.from_onnx_text(text if text.lstrip().startswith("<") else _HEADER + text)


def normal_text(model: ir.Model) -> str:
    """The model as text without what a rewrite need not settle.

    Names of nodes and graphs, texts for people, metadata, types of intermediate values, and the order of
    initializers and attributes are left out or sorted; everything else counts.
    """
    plain = clone(model)
    plain.producer_name = plain.producer_version = plain.doc_string = None
    plain.metadata_props.clear()
    for scope in scopes(plain):
        _simplify(scope)
    return ir.to_onnx_text(plain)


def assert_pass(before_text: str, pass_: Pass, after_text: str, findings: Sequence[str] = (), **options: Any) -> None:
    """Run `pass_` on the model in `before_text` and hold the result to `after_text`.

    Args:
        before_text: ONNX text; a header is optional.
        pass_: The pass.
        after_text: ONNX text of the result that is expected; compared as `normal_text` tells.
        findings: The codes that the pass should report, in order.
        options: Fields of the pass's `Context`, as for `onnxcompress.testing.context`.

    Raises:
        AssertionError: With a line-by-line difference, or with the findings that came instead.
    """
    model = model_of(before_text)
    found = list(pass_.run(model, context(model, **options)))
    got, wanted = normal_text(model).splitlines(), normal_text(model_of(after_text)).splitlines()
    if got != wanted:
        lines = difflib.unified_diff(wanted, got, "expected", f"after {pass_.name}", lineterm="", n=30)
        raise AssertionError("\n".join(["the model came out differently:", *lines]))
    if [f.code for f in found] != list(findings):
        told = "\n".join(f"  {f.code} {f.node}: {f.message}" for f in found)
        raise AssertionError(f"expected the findings {list(findings)}, got\n{told or '  none'}")


def _simplify(scope: ir.Graph | ir.Function) -> None:
    scope.name = "g" if isinstance(scope, ir.Graph) else scope.name
    scope.doc_string = None
    scope.metadata_props.clear()
    for node in scope:
        node.name, node.doc_string = None, None
        node.metadata_props.clear()
        for key in sorted(node.attributes):
            node.attributes[key] = node.attributes.pop(key)
        for value in node.outputs:
            _forget(value)
    if isinstance(scope, ir.Graph):
        for name in sorted(scope.initializers):
            scope.initializers[name] = scope.initializers.pop(name)


def _forget(value: ir.Value) -> None:
    value.doc_string = None
    value.metadata_props.clear()
    if not value.is_graph_output():
        value.type, value.shape = None, None
