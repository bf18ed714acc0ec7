"""Torch forms of operators that the library does not know, given by the user.

`op` only marks a function; nothing is registered anywhere. What a run knows beyond `ops.TABLE` is what its caller
collects: the marked functions of the files that ``--ops`` names, and those that installed distributions offer under the
entry-point group ``onnxcompress.ops``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxcompress.errors import CompressError, UsageError

if TYPE_CHECKING:
    from onnxcompress.distill.ops import OpNode

GROUP = "onnxcompress.ops"


@dataclass(frozen=True)
class CustomOp:
    """The torch form of one or more operators.

    Attributes:
        names: ``domain::Type`` of each, or the type alone in ONNX's own domain.
        function: Takes the node and its input tensors (None for an absent one); gives a tensor, or a tuple of them.
    """

    names: tuple[str, ...]
    function: Callable[..., Any]

    def __call__(self, node: OpNode, *inputs: Any) -> Any:
        """The function itself."""
        return self.function(node, *inputs)

    def record(self, node: OpNode, *inputs: Any) -> Any:
        """One step of the recorded graph, so that the function always sees tensors."""
        from onnxcompress.distill.ops import call

        def custom_op(*tensors: Any) -> Any:
            return self._called(node, *tensors)

        made = call(custom_op, *inputs)
        return made if node.outputs == 1 else tuple(made[i] for i in range(node.outputs))

    def _called(self, node: OpNode, *tensors: Any) -> Any:
        """What the function gives: a tensor, or as many as the node has outputs.

        Raises:
            UsageError: Where it fails, or gives something else.
        """
        import torch

        try:
            made = self.function(node, *tensors)
        except CompressError:
            raise
        except Exception as error:
            raise self._failed(node, f"{type(error).__name__}: {error}") from error
        several = tuple(made) if isinstance(made, tuple | list) else (made,)
        if len(several) < node.outputs or not all(isinstance(made, torch.Tensor) for made in several[: node.outputs]):
            given = ", ".join(type(one).__name__ for one in several) or "nothing"
            wanted = "a tensor" if node.outputs == 1 else f"a tuple of {node.outputs} tensors"
            raise self._failed(node, f"it gave {given} in place of {wanted}")
        return several[0] if node.outputs == 1 else several

    def _failed(self, node: OpNode, why: str) -> UsageError:
        name = getattr(self.function, "__name__", "function")
        hint = "It gets the node and its input tensors; --debug shows the traceback (docs/writing-an-op.md)."
        where = f"{name} for {node.op_type} node {node.name!r}"
        return UsageError("the torch form of an operator failed", where=where, why=why, hint=hint, code="USAGE-OPS")


def op(*names: str) -> Callable[[Callable[..., Any]], CustomOp]:
    """Mark a function as the torch form of the operators `names`, each ``domain::Type``.

    Example::

        @op("my.domain::Scale")
        def scale(node, x):
            return x * node.attr("factor", 1.0)
    """

    def mark(function: Callable[..., Any]) -> CustomOp:
        return CustomOp(names, function)

    return mark


def load_ops(files: Iterable[str] = ()) -> dict[str, CustomOp]:
    """The marked functions of installed distributions and of Python files, which are run; files come first.

    Raises:
        UsageError: Where a file is missing, fails or marks nothing, or where two claim an operator.
    """
    own = _collected((file, _marked(file)) for file in files)
    return _collected(_installed()) | own


def _collected(sources: Iterable[tuple[str, list[CustomOp]]]) -> dict[str, CustomOp]:
    found: dict[str, CustomOp] = {}
    origin: dict[str, str] = {}
    for source, marked in sources:
        for custom in marked:
            for name in custom.names:
                if name in origin:
                    why = f"{origin[name]} and {source} both give a torch form of it"
                    raise UsageError(f"cannot choose {name}", why=why, hint="Leave one out.", code="USAGE-OPS")
                found[name], origin[name] = custom, source
    return found


def _installed() -> Iterator[tuple[str, list[CustomOp]]]:
    if os.environ.get("ONNXCOMPRESS_NO_PLUGINS") == "1":
        return
    for entry in entry_points(group=GROUP):
        loaded = entry.load()
        yield f"entry point {entry.name}", [loaded] if isinstance(loaded, CustomOp) else _in(vars(loaded))


def _marked(file: str) -> list[CustomOp]:
    from onnxcompress.data.scripts import run_file

    path, hint = Path(file), "Give a Python file with functions under @op; docs/writing-an-op.md has one."
    if not path.is_file():
        raise UsageError(f"cannot load ops from {file!r}", why="no such file", hint=hint, code="USAGE-OPS")
    found = _in(vars(run_file(path)))
    if not found:
        raise UsageError(f"cannot load ops from {file!r}", why="it marks no function", hint=hint, code="USAGE-OPS")
    return found


def _in(names: Mapping[str, Any]) -> list[CustomOp]:
    return list({id(v): v for v in names.values() if isinstance(v, CustomOp)}.values())
