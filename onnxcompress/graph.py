"""Small pure functions over the IR that every pass needs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import InternalError, UsageError


def clone(model: ir.Model) -> ir.Model:
    """A copy of graph and functions that shares the tensors; the model's `meta` is copied as well."""
    copy = model.clone()
    copy.meta.update(model.meta)
    return copy


def scopes(model: ir.Model) -> Iterator[ir.Graph | ir.Function]:
    """The main graph, every subgraph, and every function with its subgraphs."""
    yield model.graph
    yield from model.graph.subgraphs()
    for function in model.functions.values():
        yield function
        yield from function.subgraphs()


def iter_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every node of every scope."""
    for scope in scopes(model):
        yield from scope


def is_constant(value: ir.Value | None) -> bool:
    """True for an initializer that no caller can override, and for the output of a Constant node."""
    return tensor_of(value) is not None


def tensor_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a constant value, not yet read; None where the value is not constant."""
    if value is None:
        return None
    if value.is_initializer() and not value.is_graph_input():
        return value.const_value
    node = value.producer()
    if node is not None and node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
        return constant_node_tensor(node)
    return None


def constant_node_tensor(node: ir.Node) -> ir.TensorProtocol | None:
    """The tensor that a Constant node yields, whichever attribute holds it."""
    attribute = next(iter(node.attributes.values()), None)
    if attribute is None or attribute.is_ref():
        return None
    if attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor()
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if attribute.name in kinds:
        return ir.tensor(np.asarray(attribute.value, dtype=kinds[attribute.name]))
    return None


def array_of(value: ir.Value | None) -> np.ndarray | None:
    """The numbers behind a constant value, or None."""
    tensor = tensor_of(value)
    return None if tensor is None else tensor.numpy()


def set_constant(value: ir.Value, array: np.ndarray | ir.TensorProtocol) -> None:
    """Give a constant value (initializer or Constant node's output) another tensor, in place.

    Shape and dtype of the value follow the tensor; doc string and metadata of the old tensor are kept.

    Raises:
        InternalError: Where the value is not constant.
    """
    tensor = ir.tensor(array, name=value.name) if isinstance(array, np.ndarray) else array
    old = tensor_of(value) or value.const_value
    if isinstance(array, np.ndarray) and old is not None:
        tensor.doc_string = old.doc_string
        tensor.metadata_props.update(old.metadata_props)
    node = value.producer()
    if value.is_initializer():
        value.const_value = tensor
    elif node is not None and node.op_type == "Constant":
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", tensor)
    else:
        raise InternalError(f"{value.name} is not a constant", hint="Check with is_constant first.")
    value.shape, value.type = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The plain Python value of an attribute, or `default` where it is absent."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def opset(model: ir.Model, domain: str = "") -> int:
    """Version of the operator set in use; 0 where the domain is not imported."""
    return model.graph.opset_imports.get(domain, 0)


def all_names(model: ir.Model) -> set[str]:
    """Every value and node name in use anywhere in the model."""
    names: set[str] = set()
    for scope in scopes(model):
        names.update(v.name for v in scope.inputs if v.name)
        if isinstance(scope, ir.Graph):
            names.update(scope.initializers)
        for node in scope:
            names.add(node.name or "")
            names.update(v.name for v in node.outputs if v.name)
    return names


def fresh_name(taken: set[str], base: str) -> str:
    """`base`, or `base_1`, `base_2`, ...: the first that is not taken; it is added to `taken`."""
    name, n = base, 0
    while name in taken:
        n += 1
        name = f"{base}_{n}"
    taken.add(name)
    return name


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray | ir.TensorProtocol) -> ir.Value:
    """Register a new constant in `graph` and return its value."""
    tensor = ir.Tensor(array, name=name) if isinstance(array, np.ndarray) else array
    value = ir.Value(
        name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def label(node: ir.Node) -> str:
    """What a node is called in options, findings and tables: its name, or its first output's where it has none."""
    return node.name or next((v.name for v in node.outputs if v.name), "") or node.op_type


def select_nodes(model: ir.Model, patterns: Iterable[str], *, strict: bool = True) -> set[str]:
    """Labels of the nodes that `patterns` name: a node's name, an output's name, ``re:PATTERN`` or ``op:TYPE``.

    Args:
        model: Where to look.
        patterns: What to look for.
        strict: Refuse a pattern that matches nothing.

    Raises:
        UsageError: Where a pattern matches nothing, or is not a regular expression.
    """
    nodes = list(iter_nodes(model))
    chosen: set[str] = set()
    for pattern in patterns:
        hits = {label(node) for node in nodes if _matches(node, pattern)}
        if strict and not hits:
            raise UsageError(
                f"the pattern {pattern!r} matches no node",
                why=_meant(pattern, nodes),
                hint="Run `onnxcompress inspect MODEL --nodes` to see the names; use re:REGEX or op:TYPE for several.",
                code="USAGE-PATTERN-UNMATCHED",
            )
        chosen |= hits
    return chosen


def _meant(pattern: str, nodes: Iterable[ir.Node]) -> str:
    """The names nearest to a plain name or an operator that matches nothing; empty where none is near."""
    kind = "op:" if pattern.startswith("op:") else ""
    known = {node.op_type for node in nodes} if kind else {label(node) for node in nodes}
    near = [] if pattern.startswith("re:") else difflib.get_close_matches(pattern.removeprefix(kind), sorted(known), 3)
    return f"the nearest is {' or '.join(kind + name for name in near)}" if near else ""


def in_scope(model: ir.Model, only: Iterable[str] = (), exclude: Iterable[str] = ()) -> set[str]:
    """Labels of the nodes that a pass may touch: those that `only` names (all where it is empty) less `exclude`.

    Not strict: the manager has checked the patterns against the input, and earlier passes may have removed nodes.
    """
    wanted = tuple(only)
    chosen = select_nodes(model, wanted, strict=False) if wanted else {label(node) for node in iter_nodes(model)}
    return chosen - select_nodes(model, exclude, strict=False)


def _matches(node: ir.Node, pattern: str) -> bool:
    if pattern.startswith("op:"):
        return node.op_type == pattern[3:]
    names = [node.name or "", *(v.name or "" for v in node.outputs)]
    if pattern.startswith("re:"):
        return any(_regex(pattern).search(name) for name in names if name)
    return bool(pattern) and pattern in names


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern[3:])
    except re.error as error:
        raise UsageError(
            f"the pattern {pattern!r} is no regular expression",
            why=str(error),
            hint="Escape special characters with a backslash, or give the plain name.",
            code="USAGE-PATTERN-INVALID",
        ) from error
