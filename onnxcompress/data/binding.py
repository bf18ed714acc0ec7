"""Which stored array feeds which input, and which one is the labels."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.data.columns import ArrayColumn, Column, ConstantColumn, PartsColumn
from onnxcompress.data.fit import Plan, fits, misfit, plan_for
from onnxcompress.data.inputs import InputSpec
from onnxcompress.data.stored import Parts, Stored, Table, label_keys, looks_like_labels
from onnxcompress.errors import DataError, UsageError

_log = logging.getLogger(__name__)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Bound:
    """A column that fits an input by a plan; the spec says which axis was read as the batch."""

    column: Column
    plan: Plan
    spec: InputSpec


def parse_mapping(items: Sequence[str]) -> dict[str, str]:
    """``["input=x_train", "labels=y_train"]`` as a dict.

    Raises:
        UsageError: Where an item has no ``=``.
    """
    pairs = [item.partition("=") for item in items]
    wrong = [item for item, (left, _, right) in zip(items, pairs, strict=True) if not left or not right]
    if wrong:
        raise UsageError(f"--map {wrong[0]} names no pair", hint="Write --map INPUT=KEY.", code="USAGE-MAP")
    return {left: right for left, _, right in pairs}


def is_number(text: str) -> bool:
    """True for text that feeds a constant (``--map state=0``)."""
    return _NUMBER.fullmatch(text) is not None


def resolve_keys(table: Table, specs: Sequence[InputSpec], mapping: Mapping[str, str]) -> dict[str, str]:
    """The key that feeds each input: mapped, of the same name, or the only one left for the only input left.

    Raises:
        UsageError: Where the mapping names an input or a key that does not exist.
        DataError: Where an input has no array.
    """
    _check_mapping(table, specs, mapping)
    chosen = {spec.name: mapping.get(spec.name, spec.name) for spec in specs}
    chosen = {name: key for name, key in chosen.items() if name in mapping or key in table}
    missing = [spec for spec in specs if spec.name not in chosen]
    spare = [key for key in table if key not in chosen.values() and key not in mapping.values()]
    spare = [key for key in spare if not looks_like_labels(key)]
    if len(missing) == 1 and len(spare) == 1:
        chosen[missing[0].name] = spare[0]
    elif missing:
        raise _missing(missing[0], table, spare, alone=len(specs) == 1)
    return chosen


def _check_mapping(table: Table, specs: Sequence[InputSpec], mapping: Mapping[str, str]) -> None:
    names = [spec.name for spec in specs]
    for name, key in mapping.items():
        if name not in names and name != "labels":
            raise UsageError(
                f"--map {name}={key}: the model has no input {name!r}",
                hint=f"Its inputs are: {', '.join(names)}.",
                code="USAGE-MAP",
            )
        if key not in table and not (name in names and is_number(key)):
            raise UsageError(
                f"--map {name}={key}: the data has no key {key!r}",
                hint=f"Its keys are: {', '.join(filter(None, table)) or '(none)'}.",
                code="USAGE-MAP",
            )


def _missing(spec: InputSpec, table: Table, spare: list[str], *, alone: bool) -> DataError:
    keys = ", ".join(filter(None, table)) or "no names"
    fitting = [key for key in spare if _plan_of(table[key], spec) is not None]
    hint = f"Name the array: --map {spec.name}={(fitting or spare)[0]}." if fitting or (alone and spare) else ""
    shape = " x ".join(str(d) for d in ("N", *(spec.sample_dims or ())))
    state = (
        f"Every input comes from the data, states and caches too: add an array {spec.name!r} of shape {shape}, "
        f"or say that it is constant, e.g. --map {spec.name}=0."
    )
    return DataError(
        "the data lacks an input of the model",
        where=f"input {spec}",
        why=f"the data has {keys}",
        hint=hint or state,
        code="DATA-MISSING-INPUT",
    )


def _plan_of(entry: Stored | Parts, spec: InputSpec) -> Plan | None:
    shape = entry.shape if isinstance(entry, Stored) else entry.shapes[0]
    return plan_for(shape[1:], spec) if shape else None


def count_samples(table: Table, keys: Mapping[str, str], specs: Sequence[InputSpec]) -> int | None:
    """Length of the first whole array that feeds an input whose batch axis is the first; None where parts count."""
    leading = sorted((spec for spec in specs if keys[spec.name] in table), key=lambda spec: spec.batch_axis != 0)
    for spec in leading:
        entry = table[keys[spec.name]]
        if isinstance(entry, Stored) and entry.shape:
            return entry.shape[0]
    return None


def bind(entry: Stored | Parts, spec: InputSpec, length: int | None, *, layout: str, where: str) -> Bound:
    """The column and the plan by which `entry` feeds `spec`.

    Raises:
        DataError: Where its shape does not fit.
    """
    readings = [spec, replace(spec, batch_axis=0)] if spec.batch_axis is None and spec.dims else [spec]
    tried = (
        _bind_parts(entry, reading, layout) if isinstance(entry, Parts) else _bind_array(entry, reading, length, layout)
        for reading in readings  # a fixed leading size of 4 may be one tensor of four rows, or a batch of four
    )
    bound = next((found for found in tried if found is not None), None)
    if bound is None:
        shape = entry.shapes[0] if isinstance(entry, Parts) else entry.shape
        raise misfit(shape if isinstance(entry, Parts) else shape[1:], spec, where)
    return bound


def _bind_array(entry: Stored, spec: InputSpec, length: int | None, layout: str) -> Bound | None:
    shape, axis = entry.shape, spec.batch_axis
    whole = fits(shape, spec.dims)
    if axis is None and whole and (not shape or shape[0] != length):
        return Bound(ConstantColumn(entry.load(), length or 1), Plan(), spec)
    plan = plan_for(shape[1:], spec, layout) if shape else None
    lone_sample = plan != Plan() and axis == 0 and fits(shape, spec.sample_dims) and shape[0] != 1
    if plan is not None and not lone_sample and (not axis or shape[0] == length):
        return Bound(ArrayColumn(shape, entry.dtype, entry.load), plan, spec)
    if axis and whole and shape[axis] == length:
        moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
        return Bound(ArrayColumn(moved, entry.dtype, lambda: np.moveaxis(entry.load(), axis, 0)), Plan(), spec)
    if axis and whole and shape[axis] == 1:
        return Bound(ConstantColumn(np.squeeze(entry.load(), axis), length or 1), Plan(), spec)
    return None


def _bind_parts(entry: Parts, spec: InputSpec, layout: str) -> Bound | None:
    for batched in (True, False):
        if batched and not all(entry.shapes):
            continue
        column = PartsColumn(entry.shapes, entry.dtype, entry.load, batched=batched)
        plan = plan_for(column.sample_shape, spec, layout)
        single = plan_for(entry.shapes[0], spec, layout)
        if plan is not None and not (batched and plan != Plan() and single is not None):
            return Bound(column, plan, spec)
    return None


def constant(text: str, spec: InputSpec, length: int) -> Bound:
    """The number `text` for every element of the input (``--map state=0``); dynamic sizes count 1."""
    shape = tuple(d if isinstance(d, int) else 1 for d in spec.sample_dims or ())
    return Bound(ConstantColumn(np.full(shape, float(text)).astype(spec.dtype), length), Plan(), spec)


def bind_labels(table: Table, wanted: str | Stored | None, main_key: str, used: set[str], length: int) -> Column | None:
    """The labels' column: the key or array `wanted`, else the one that goes with the key of the first input.

    Raises:
        DataError: Where the wanted key has another number of samples.
    """
    keys = [wanted] if isinstance(wanted, str) else [k for k in label_keys(main_key) if k in table and k not in used]
    for entry in [wanted] if isinstance(wanted, Stored) else [table[key] for key in keys]:
        column = _label_column(entry)
        if column is not None and column.length == length:
            return column
    if wanted is None:
        for key in keys:
            _log.warning("the array %s is not used as labels: it has not one label for each of %d samples", key, length)
        return None
    raise DataError(
        "the labels do not fit the samples",
        where=f"key {wanted!r}" if isinstance(wanted, str) else "",
        why=f"the array does not have one label for each of the {length} samples",
        hint="Choose the right array with --labels KEY.",
        code="DATA-LENGTH",
    )


def _label_column(entry: Stored | Parts) -> Column | None:
    if isinstance(entry, Stored):
        return ArrayColumn(entry.shape, entry.dtype, entry.load) if entry.shape else None
    return PartsColumn(entry.shapes, entry.dtype, entry.load, batched=all(len(shape) == 1 for shape in entry.shapes))
