"""The copy of a model that is recorded: flat, cut where asked, and with a way back to the model itself.

Local functions are put in the place of their calls. A constant of a function that is called twice is one constant in
the copy too. Each constant and node knows its home, the one in the model that it was copied from; nodes of functions
have none, nor have constants that a call passes as an attribute.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from onnxcompress import graph
from onnxcompress.errors import ModelError, UsageError

_HOME = "onnxcompress.home"
# Keys in a node's metadata: inlining hands those of a call on to the nodes that take its place.
_CALLED = "onnxcompress.called."


def working_copy(model: ir.Model, until: Sequence[str] = ()) -> ir.Model:
    """A copy without local functions, up to the tensors `until` where some are named.

    Raises:
        ModelError: Where a function cannot take the place of its calls.
        UsageError: Where `until` names no tensor.
    """
    copy = graph.clone(model)
    _mark(copy, model)
    if until:
        cut(copy, until)
    if copy.functions:
        _inline(copy)
    return copy


def home(value: ir.Value) -> ir.Value | None:
    """The constant of the model that a constant of its copy stands for."""
    return value.meta.get(_HOME)


def home_node(node: ir.Node) -> ir.Node | None:
    """The node of the model that a node of its copy stands for."""
    return node.meta.get(_HOME)


def labels(node: ir.Node) -> set[str]:
    """What a node of a copy is called in the model itself: its own label, and those of the calls around it."""
    found = {key.removeprefix(_CALLED) for key in node.metadata_props if key.startswith(_CALLED)}
    return found or {graph.label(node)}


def settle(value: ir.Value, home: ir.Value) -> None:
    """Give a constant of a copy its home."""
    value.meta[_HOME] = home


def cut(model: ir.Model, names: Sequence[str], whose: str = "student") -> None:
    """Make the named tensors the outputs, and drop the nodes that they do not need.

    Raises:
        UsageError: Where no node of the main graph makes a tensor of that name.
    """
    made = {value.name: value for node in model.graph for value in node.outputs if value.name}
    for name in names:
        if name not in made:
            near = difflib.get_close_matches(name, [n for n in made if n], 1)
            hint = (
                f"The nearest is {near[0]!r}." if near else "Run `onnxcompress inspect MODEL --nodes` to see the names."
            )
            why = f"no node of the {whose} makes a tensor {name!r}"
            raise UsageError("cannot cut the model", where="option until", why=why, hint=hint, code="USAGE-UNTIL")
    model.graph.outputs.clear()
    model.graph.outputs.extend(made[name] for name in dict.fromkeys(names))
    needed = ancestors(model.graph.outputs)
    model.graph.remove([node for node in model.graph if node not in needed], safe=True)


def parts(
    student: ir.Model, teacher: ir.Model, until: Sequence[str], pairs: Mapping[str, str]
) -> tuple[ir.Model, ir.Model]:
    """Both models up to the tensors `until`, of which `pairs` has the teacher's names; the models where none is named.

    Raises:
        UsageError: Where one has no such tensor.
    """
    if not until:
        return student, teacher
    made = graph.clone(student), graph.clone(teacher)
    cut(made[0], until)
    cut(made[1], [pairs.get(name, name) for name in until], "teacher")
    return made


def ancestors(values: Iterable[ir.Value]) -> set[ir.Node]:
    """The nodes that these values need, those of subgraphs left out."""
    needed, todo = set[ir.Node](), [value.producer() for value in values]
    while todo:
        node = todo.pop()
        if node is None or node in needed:
            continue
        needed.add(node)
        todo += [value.producer() for value in _reads(node)]
    return needed


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    """What a node and its subgraphs read."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            scope = attribute.as_graph()
            yield from scope.outputs
            yield from (value for inner in scope for value in _reads(inner))


def _mark(copy: ir.Model, model: ir.Model) -> None:
    flat = {copy.graph, *copy.graph.subgraphs()}
    for mine, theirs in zip(graph.scopes(copy), graph.scopes(model), strict=True):
        if isinstance(mine, ir.Graph) and isinstance(theirs, ir.Graph):
            for name, value in mine.initializers.items():
                value.meta[_HOME] = theirs.initializers[name]
        for node, original in zip(mine, theirs, strict=True):
            if mine in flat:
                node.meta[_HOME] = original
            if node.op_type == "Constant" and not any(a.is_ref() for a in node.attributes.values()):
                node.outputs[0].meta[_HOME] = original.outputs[0]


def _inline(model: ir.Model) -> None:
    for node in graph.iter_nodes(model):
        node.metadata_props[_CALLED + graph.label(node)] = ""
    try:
        ir_passes.InlinePass()(model)
    except (ValueError, ir.passes.PassError, ir.passes.PreconditionError) as fault:
        cause = fault.__cause__ or fault
        hint = "Inline the functions first (onnx.inliner.inline_local_functions), at one operator set."
        what, why = "cannot train the model", f"its local functions cannot take the place of their calls ({cause})"
        raise ModelError(what, why=why, hint=hint, code="MODEL-DISTILL-FUNCTION") from fault
    first: dict[ir.Value, ir.Value] = {}
    for scope in graph.scopes(model):
        made = [node.outputs[0] for node in scope if node.op_type == "Constant"]
        held = scope.initializers.values() if isinstance(scope, ir.Graph) else ()
        for value in (*held, *made):
            found = home(value)
            kept = value if found is None else first.setdefault(found, value)
            if kept is not value and not value.is_graph_output():
                value.replace_all_uses_with(kept)
