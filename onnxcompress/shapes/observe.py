"""Shapes as a run shows them: every open tensor tapped, a few at a time, under one probe and under a second one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import CompressError, ModelError
from onnxcompress.graph import all_names, clone, fresh_name
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import Session, dims_of, real_inputs
from onnxcompress.runtime.batching import Dim
from onnxcompress.runtime.session import is_tensor, main_values
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes.branches import taken_branches
from onnxcompress.shapes.probe import symbol
from onnxcompress.shapes.table import ShapeTable

_log = logging.getLogger(__name__)

TAPS_PER_RUN = 128
"""Tensors of an unknown type observed in one session: bounds the memory of the observed run."""

_MEASURED = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.INT64, ir.DataType.INT32,
             ir.DataType.BOOL, ir.DataType.INT8, ir.DataType.UINT8}  # fmt: skip


def observe(table: ShapeTable, part: ir.Model, runtime: RuntimeOptions | None, values: bool) -> bool:
    """Run the probe, and a second one with other free sizes: what stays is fixed, what follows the batch is batch.

    False where the model does not run.
    """
    names = open_names(table, part)
    if values:
        names += [name for name in _integers(table, part) if name not in set(names)]
    try:
        first = _sizes(table, part, table.feeds, names, runtime, keep=True)
    except ModelError as fault:
        message = f"the model did not run under the probe ({fault.why}); shapes come from inference alone"
        table.notes.append(Finding("SHAPES-NOT-OBSERVED", message, severity=Severity.WARNING))
        return False
    still = [name for name in open_names(table, part) if name in first]
    if not table.symbols:
        second, whole = first, True
    else:
        second, whole = _second(table, part, still, runtime)
    for name in still:
        dims = _compared(table, first[name], second.get(name), whole)
        table.learn(name, dims)
    return True


def _integers(table: ShapeTable, part: ir.Model) -> list[str]:
    small = [v.name for node in part.graph for v in node.outputs if v.name and _small_integer(table, v.name)]
    return [name for name in small if name]


def _small_integer(table: ShapeTable, name: str) -> bool:
    kind, probe = table.dtype(name), table.probe(name)
    return kind is not None and kind.is_integer() and (probe is None or int(np.prod(probe)) <= 64)


def _second(
    table: ShapeTable, part: ir.Model, names: list[str], runtime: RuntimeOptions | None
) -> tuple[dict[str, tuple[int, ...]], bool]:
    """Sizes under a second probe, and whether every free symbol changed in it."""
    batch = {name: size + 1 for name, size in table.symbols.items() if name in table.batch_names}
    others = {name: size * 2 for name, size in table.symbols.items() if name not in table.batch_names}
    for change in ({**batch, **others}, batch):
        try:
            return _sizes(table, part, _resized(table, part, change), names, runtime), len(change) == len(table.symbols)
        except CompressError as fault:
            _log.debug("the second probe failed: %s", fault)
    return {}, False


def _resized(table: ShapeTable, part: ir.Model, change: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The probe with other sizes; values are repeated, so that they stay in range."""
    feeds: dict[str, np.ndarray] = {}
    for value in real_inputs(part):
        array = np.asarray(table.feeds[value.name or ""])
        free = dims_of(value) is not None
        keys = [symbol(value, axis) if free else None for axis in range(array.ndim)]
        shape = tuple(change.get(key or "", size) for key, size in zip(keys, array.shape, strict=True))
        feeds[value.name or ""] = np.resize(array, shape)
    return feeds


def _sizes(
    table: ShapeTable,
    part: ir.Model,
    feeds: Mapping[str, np.ndarray],
    names: Sequence[str],
    runtime: RuntimeOptions | None,
    *,
    keep: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Shapes of the named tensors under `feeds`; kept in the table where `keep` says so, small integers whole."""
    found = _measured(table, part, feeds, names, runtime)
    for name, sizes in found.items() if keep else ():
        table.observe_sizes(name, sizes)
    small = [name for name in found if keep and _small_integer(table, name)]
    others = [name for name in names if name not in found]
    chunks = [others[start : start + TAPS_PER_RUN] for start in range(0, len(others), TAPS_PER_RUN)]
    for chunk in [small, *chunks] if small else chunks:
        outputs = Session(part, runtime, optimize=False, taps=chunk).run(feeds, chunk)
        for name, array in outputs.items():
            if is_tensor(array):
                found[name] = tuple(array.shape)
                if keep:
                    table.observe(name, array)
    return found


def _measured(
    table: ShapeTable,
    part: ir.Model,
    feeds: Mapping[str, np.ndarray],
    names: Sequence[str],
    runtime: RuntimeOptions | None,
) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a known type, taken by Shape nodes: one run, however many, and none is kept alive."""
    wanted = [name for name in dict.fromkeys(names) if table.dtype(name) in _MEASURED]
    if not wanted or not part.graph.opset_imports.get(""):
        return {}
    copy = clone(part)
    values, taken = main_values(copy), all_names(copy)
    sizes: dict[str, str] = {}
    for name in wanted:
        output = ir.Value(name=fresh_name(taken, f"{name}_size"), type=ir.TensorType(ir.DataType.INT64))
        copy.graph.append(ir.Node("", "Shape", [values[name]], outputs=[output]))
        copy.graph.outputs.append(output)
        sizes[name] = output.name or ""
    outputs = Session(copy, runtime, optimize=False).run(feeds, list(sizes.values()))
    return {name: tuple(int(n) for n in outputs[size]) for name, size in sizes.items()}


def _compared(
    table: ShapeTable, first: tuple[int, ...], second: tuple[int, ...] | None, whole: bool
) -> tuple[Dim, ...]:
    if second is None or len(second) != len(first):
        return (None,) * len(first)
    name = table.batch_names[0] if len(table.batch_names) == 1 else None
    grown = table.batch + 1
    return tuple(
        _dim(a, b, name if (a, b) == (table.batch, grown) else None, whole) for a, b in zip(first, second, strict=True)
    )


def _dim(first: int, second: int, batch: str | None, whole: bool) -> Dim:
    return first if first == second and whole else batch


def observe_branches(table: ShapeTable, part: ir.Model, runtime: RuntimeOptions | None) -> None:
    """Observe the branches that the probe takes, where inference left something open in them."""
    inner = [v.name for graph in part.graph.subgraphs() for v in values_of(graph) if v.name]
    if all(table.probe(name) is not None for name in inner):
        return
    if not any(node.op_type == "If" for node in part.graph):
        return
    try:
        flat = taken_branches(part, table.feeds, runtime)
        made = {value.name for value in values_of(flat.graph)}
        names = [name for name in dict.fromkeys(inner) if table.probe(name) is None and name in made]
        _sizes(table, flat, table.feeds, names, runtime, keep=True)
    except ModelError as fault:
        message = f"tensors inside branches were not observed ({fault.why})"
        table.notes.append(Finding("SHAPES-BRANCHES-NOT-OBSERVED", message))


def open_names(table: ShapeTable, part: ir.Model) -> list[str]:
    """Names in the main graph whose sizes under the probe, or whose dims, are not known."""
    names: list[str] = []
    for node in part.graph:
        for value in node.outputs:
            dims = table.dims(value.name)
            known = table.probe(value.name) is not None and dims is not None and None not in dims
            if value.name and not known and not isinstance(value.type, (ir.SequenceType, ir.OptionalType)):
                names.append(value.name)
    return names


def values_of(scope: ir.Graph | ir.Function) -> Iterator[ir.Value]:
    """Initializers and node outputs of one scope."""
    yield from scope.initializers.values() if isinstance(scope, ir.Graph) else ()
    for node in scope:
        yield from node.outputs
