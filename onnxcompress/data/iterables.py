"""Data from Python: dicts of arrays, iterables of dicts, tuples or arrays, torch data loaders (without torch).

An iterable is read once and kept as it came, so that samples can be read again in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxcompress.data.stored import Parts, Stored, Table, of_array
from onnxcompress.errors import CompressError, DataError

MAX_KEPT = 1 << 32  # bytes
LABELS = "labels"


def to_numpy(value: Any) -> np.ndarray:
    """A numpy array of anything that has numbers: arrays, torch tensors (bfloat16 too), lists, scalars."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return value.numpy()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise _no_numbers("a nested list", str(error)) from error


def read_mapping(arrays: Mapping[str, Any]) -> Table:
    """A dict of whole arrays, first axis = samples."""
    return {str(key): of_array(_checked(to_numpy(value), f"key {key!r}")) for key, value in arrays.items()}


def read_iterable(items: Iterable[Any], input_names: Sequence[str]) -> Table:
    """Samples or batches, one item each.

    Args:
        items: Dicts by input name, tuples in the order of the inputs (one more element is the labels), or bare
            arrays; also a map-style dataset (`__len__` and `__getitem__`).
        input_names: The model's inputs in order; they name the elements of a tuple.

    Raises:
        DataError: Where there is no item, items differ in kind, or they are more than can be kept.
    """
    rows: dict[str, list[np.ndarray]] = {}
    kept = 0
    for index, item in enumerate(_guarded(_items(items))):
        named = _named(item, input_names, index)
        if rows and sorted(rows) != sorted(named):
            raise _odd_item(index, f"it has the keys {sorted(named)}, and the items before have {sorted(rows)}")
        for key, array in named.items():
            rows.setdefault(key, []).append(array)
            kept += array.nbytes
        if kept > MAX_KEPT:
            raise DataError(
                "the data iterable is too large to keep",
                where=f"item {index}",
                why=f"more than {MAX_KEPT >> 30} GiB came out of it",
                hint="Save the samples as .npy or .npz, which are read piece by piece, or yield fewer.",
                code="DATA-TOO-LARGE",
            )
    if not rows:
        raise DataError("the data holds 0 samples", hint="Yield at least one.", code="DATA-EMPTY")
    return {key: _parts(arrays) for key, arrays in rows.items()}


def _items(items: Iterable[Any]) -> Iterable[Any]:
    if hasattr(items, "__len__") and hasattr(items, "__getitem__") and not hasattr(items, "__iter__"):
        indexed: Any = items
        return (indexed[i] for i in range(len(indexed)))
    return items


def _guarded(items: Iterable[Any]) -> Iterator[Any]:
    """The items; what the user's own code raises on the way is told as a fault of the data, not of this tool."""
    index = 0
    try:
        for item in items:
            yield item
            index += 1
    except CompressError:
        raise
    except Exception as error:
        raise DataError(
            "the data iterable failed",
            where=f"item {index}",
            why=f"{type(error).__name__}: {error}",
            hint="Mend what yields the samples; --debug shows the traceback.",
            code="DATA-SCRIPT",
        ) from error


def _named(item: Any, input_names: Sequence[str], index: int) -> dict[str, np.ndarray]:
    if isinstance(item, Mapping):
        named = {str(key): to_numpy(value) for key, value in item.items()}
    elif isinstance(item, tuple | list) and not np.isscalar(item[0] if item else 0):
        if not len(input_names) <= len(item) <= len(input_names) + 1:
            raise _odd_item(index, f"it has {len(item)} elements, and the model has {len(input_names)} inputs")
        named = dict(zip([*input_names, LABELS], map(to_numpy, item), strict=False))
    elif len(input_names) == 1:
        named = {input_names[0]: to_numpy(item)}
    else:
        raise _odd_item(index, f"it is a {type(item).__name__}, and the model has {len(input_names)} inputs")
    return {key: _checked(array, f"item {index}, key {key!r}") for key, array in named.items()}


def _odd_item(index: int, why: str) -> DataError:
    hint = "Yield dicts of arrays by input name, or tuples (inputs in order, then labels)."
    return DataError("cannot read an item of the data", where=f"item {index}", why=why, hint=hint, code="DATA-ITEM")


def _checked(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.hasobject and not all(isinstance(x, str) for x in array.flat):
        raise _no_numbers(where, "it is no array of numbers but one of Python objects")
    return array


def _no_numbers(where: str, why: str) -> DataError:
    hint = "Convert it with np.asarray(..., dtype=np.float32) first; pad rows of different lengths."
    return DataError("cannot use the data", where=where, why=why, hint=hint, code="DATA-DTYPE")


def _parts(arrays: list[np.ndarray]) -> Stored | Parts:
    dtype = np.result_type(*{array.dtype for array in arrays})
    return Parts([array.shape for array in arrays], dtype, arrays.__getitem__)
