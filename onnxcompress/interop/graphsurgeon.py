"""onnx-graphsurgeon as a bridge: existing surgery scripts run as passes, and nothing is lost on the way.

    from onnxcompress.interop.graphsurgeon import gs_pass

    @gs_pass
    def drop_last_softmax(graph):
        '''Remove a Softmax before the output.'''
        ...

    onnxcompress run recipe.toml model.onnx --pass ./surgery.py:drop_last_softmax

What gs drops when it writes a model is put back; what it cannot hold at all is refused by name before it starts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import logging
import sys
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, overload

from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Context, Effect, Pass, option

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs
    import onnx_ir as ir

    from onnxcompress.report import Finding

logger = logging.getLogger(__name__)

Surgery = Callable[..., Any]
"""Takes a gs.Graph, and options by name; gives a gs.Graph, or None where it edited the one it got."""


def to_gs(model: ir.Model) -> gs.Graph:
    """`model` as a graph of onnx-graphsurgeon; weights in external files are read.

    Raises:
        ModelError: With code ``INTEROP-GRAPHSURGEON`` where something in the model would be damaged.
    """
    import onnx_graphsurgeon as gs
    import onnx_ir as ir

    from onnxcompress import model_io
    from onnxcompress.graph import clone
    from onnxcompress.interop.carriable import require_carriable

    require_carriable(model)
    with _prints_logged():
        return gs.import_onnx(model_io.to_proto(ir.external_data.load_to_model(clone(model))))


def from_gs(graph: gs.Graph, like: ir.Model) -> ir.Model:
    """The model behind a gs graph.

    Args:
        graph: The graph, edited or not; its nodes may be in any order.
        like: The model that it was made from. Texts and metadata of model, graph, nodes and values, declared types
            that still hold, inputs with a default, and constants that subgraphs share are taken from there, by name.

    Returns:
        A new model; `like` is not touched.
    """
    import onnx_graphsurgeon as gs

    from onnxcompress import model_io
    from onnxcompress.interop.reattach import reattach

    with _prints_logged():
        proto = gs.export_onnx(graph, do_type_check=False)
    model = model_io.load(proto)
    model.graph.sort()  # nodes in order stay where they are, which gs's own sort does not grant
    reattach(model, like)
    return model


@contextlib.contextmanager
def _prints_logged() -> Generator[None, None, None]:
    """What gs prints goes to the log: stdout belongs to the result."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        yield
    for line in printed.getvalue().splitlines():
        logger.debug("onnx-graphsurgeon: %s", line)


@overload
def gs_pass(surgery: Surgery) -> type[Pass]: ...
@overload
def gs_pass(
    surgery: None = None, *, name: str = "", effect: Effect = Effect.LOSSY
) -> Callable[[Surgery], type[Pass]]: ...
def gs_pass(
    surgery: Surgery | None = None, *, name: str = "", effect: Effect = Effect.LOSSY
) -> type[Pass] | Callable[[Surgery], type[Pass]]:
    """Make a pass of a function that edits a gs graph.

    Args:
        surgery: ``f(graph) -> graph | None``; None means that it edited the graph in place. Further parameters need
            a default and become the pass's options.
        name: The pass's name; the function's name with dashes by default.
        effect: What it may do to the numbers; LOSSY unless it is known to keep them.

    Raises:
        UsageError: Where a further parameter has no default.
    """
    if surgery is None:
        return lambda function: _pass_class(function, name, effect)
    return _pass_class(surgery, name, effect)


def _pass_class(surgery: Surgery, name: str, effect: Effect) -> type[Pass]:
    cls = dataclasses.make_dataclass(
        surgery.__name__,
        [_field(parameter) for parameter in _options(surgery)],
        bases=(_GraphSurgery,),
        namespace={
            "name": name or surgery.__name__.replace("_", "-"),
            "effect": effect,
            "surgery": staticmethod(surgery),
            "__doc__": surgery.__doc__ or f"The onnx-graphsurgeon script {surgery.__name__}.",
            "__module__": surgery.__module__,
        },
        frozen=True,
        kw_only=True,
    )
    assert issubclass(cls, Pass)
    return cls


def _options(surgery: Surgery) -> list[inspect.Parameter]:
    _, *rest = inspect.signature(surgery).parameters.values()
    bare = next((p.name for p in rest if p.default is inspect.Parameter.empty), None)
    if bare is not None:
        raise UsageError(
            f"{surgery.__name__} cannot become a pass",
            why=f"its parameter {bare} has no default",
            hint="Give every parameter after the graph a default; it becomes an option.",
            code="USAGE-NOT-A-PASS",
        )
    return rest


def _field(parameter: inspect.Parameter) -> tuple[str, type, Any]:
    default = parameter.default
    return parameter.name, type(default), option(default, f"The parameter {parameter.name} of the script.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _GraphSurgery(Pass):
    """A function over a gs graph, run as a pass."""

    surgery: ClassVar[Surgery]

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Hand the model to the script and take over what it made of it."""
        from onnxcompress.report import Finding

        before, graph = len(model.graph), to_gs(model)
        options: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        with contextlib.redirect_stdout(sys.stderr):
            edited = type(self).surgery(graph, **options)
        result = from_gs(graph if edited is None else edited, like=model)
        model.graph, model.ir_version = result.graph, result.ir_version
        numbers: dict[str, float | int | str] = {"nodes_before": before, "nodes_after": len(model.graph)}
        return [Finding("GS-DONE", f"the script {type(self).__name__} ran", numbers=numbers)]
