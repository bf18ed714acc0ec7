"""Putting back what onnx-graphsurgeon's exporter leaves out: metadata, texts, defaults of inputs, shared constants."""

from __future__ import annotations

from collections import defaultdict

import onnx_ir as ir

from onnxcompress.graph import iter_nodes, scopes, tensor_of

# Constants up to this size are compared by content: they may set a shape (Reshape, Slice, ...).
_SHAPE_BYTES = 1024


def reattach(model: ir.Model, like: ir.Model) -> None:
    """Give `model`, as it came from gs, what the same things had in `like`; things are the same by name."""
    _reattach_model(model, like)
    hoist_constants(model, like)
    _restore_defaults(model.graph, like.graph)
    _reattach_values(model, like)
    _reattach_nodes(model, like)


def _reattach_model(model: ir.Model, like: ir.Model) -> None:
    model.domain, model.model_version, model.doc_string = like.domain, like.model_version, like.doc_string
    model.producer_name, model.producer_version = like.producer_name, like.producer_version
    model.metadata_props.update(like.metadata_props)
    model.meta.update(like.meta)
    model.graph.doc_string = like.graph.doc_string
    model.graph.metadata_props.update(like.graph.metadata_props)
    unused = set(model.opset_imports) - set(like.opset_imports) - {node.domain for node in iter_nodes(model)}
    for domain in unused:  # gs imports the default domain whether a node needs it or not
        del model.opset_imports[domain]


def hoist_constants(model: ir.Model, like: ir.Model) -> None:
    """Merge the copies that gs made of an outer constant inside subgraphs back into the one outer constant."""
    copies: dict[str, list[tuple[ir.Graph, ir.Value]]] = defaultdict(list)
    for graph in model.graph.subgraphs():
        for name, value in graph.initializers.items():
            if name in like.graph.initializers:
                copies[name].append((graph, value))
    for name, found in copies.items():
        _hoist(model.graph, name, found)


def _hoist(graph: ir.Graph, name: str, copies: list[tuple[ir.Graph, ir.Value]]) -> None:
    outer = graph.initializers.get(name)
    kept = outer if outer is not None else copies[0][1]
    if len({_content(value) for value in [kept, *(value for _, value in copies)]}) > 1:
        return  # the script changed some copies only: they are different constants now
    for inner, value in copies:
        del inner.initializers[name]
        if value is not kept:
            value.replace_all_uses_with(kept)
    if outer is None:
        graph.register_initializer(kept)


def _content(value: ir.Value) -> tuple[ir.DataType, tuple[int, ...], bytes]:
    tensor = value.const_value
    assert tensor is not None
    return tensor.dtype, tuple(tensor.shape.numpy()), tensor.numpy().tobytes()


def _restore_defaults(graph: ir.Graph, like: ir.Graph) -> None:
    """Inputs with a default value lose their place among the inputs, and unread constants vanish."""
    for position, value in enumerate(like.inputs):
        default = graph.initializers.get(value.name or "")
        if value.is_initializer() and default is not None and not default.is_graph_input():
            graph.inputs.insert(min(position, len(graph.inputs)), default)
    taken = {v.name for node in graph for v in node.outputs} | {v.name for v in graph.inputs} | set(graph.initializers)
    for name, value in like.initializers.items():
        if name not in taken and not value.uses() and not value.is_graph_input():
            unread = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
            graph.register_initializer(unread)
    rank = {name: n for n, name in enumerate(like.initializers)}
    for name in sorted(graph.initializers, key=lambda n: rank.get(n, len(rank))):
        graph.initializers[name] = graph.initializers.pop(name)


def _values(model: ir.Model) -> dict[str, ir.Value]:
    """Every named value of every scope."""
    found: dict[str, ir.Value] = {}
    for scope in scopes(model):
        held = list(scope.initializers.values()) if isinstance(scope, ir.Graph) else []
        found |= {v.name: v for v in [*scope.inputs, *held, *(v for n in scope for v in n.outputs)] if v.name}
    return found


def _reattach_values(model: ir.Model, like: ir.Model) -> None:
    before = _values(like)
    for name, value in _values(model).items():
        old = before.get(name)
        if old is None:
            continue
        value.doc_string = old.doc_string
        value.metadata_props.update(old.metadata_props)
        value.meta.update(old.meta)
        if isinstance(value.type, ir.SequenceType) or value.type is None:
            value.type = old.type
        if value.shape is None and isinstance(old.type, ir.SequenceType):
            value.shape = old.shape


def _reattach_nodes(model: ir.Model, like: ir.Model) -> None:
    before = {_key(node): node for node in iter_nodes(like)}
    same: set[str] = {v.name or "" for v in model.graph.inputs}
    for node in iter_nodes(model):
        old = before.get(_key(node))
        if old is None:
            continue
        node.doc_string = old.doc_string
        node.metadata_props.update(old.metadata_props)
        if _is_untouched(node, old, same):
            _reattach_outputs(node, old)
            same.update(v.name or "" for v in node.outputs)


def _key(node: ir.Node) -> tuple[str, str, str]:
    """A node is the same where type and name are, or, without a name, where it makes the same value."""
    return node.op_type, node.domain, node.name or f"\0{node.outputs[0].name if node.outputs else ''}"


def _is_untouched(node: ir.Node, old: ir.Node, same: set[str]) -> bool:
    """True where the node and all that it computes from are as before, so that its declared shapes still hold."""
    inputs = [None if v is None else v.name for v in node.inputs]
    if inputs != [None if v is None else v.name for v in old.inputs] or len(node.outputs) != len(old.outputs):
        return False
    texts, old_texts = ({k: str(a) for k, a in n.attributes.items()} for n in (node, old))
    pairs = zip(node.inputs, old.inputs, strict=True)
    return texts == old_texts and all(v is None or v.name in same or _same_constant(v, w) for v, w in pairs)


def _same_constant(value: ir.Value, old: ir.Value | None) -> bool:
    new, before = tensor_of(value), tensor_of(old)
    if new is None or before is None or new.dtype != before.dtype or new.shape.numpy() != before.shape.numpy():
        return False
    return new.dtype.is_string() or new.nbytes > _SHAPE_BYTES or new.numpy().tobytes() == before.numpy().tobytes()


def _reattach_outputs(node: ir.Node, old: ir.Node) -> None:
    for value, before in zip(node.outputs, old.outputs, strict=True):
        value.type, value.shape = value.type or before.type, value.shape or before.shape
    for key, attribute in node.attributes.items():
        attribute.doc_string = old.attributes[key].doc_string
