"""safetensors files: the library checks the header, the arrays are memory maps (bfloat16 too)."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np

from onnxcompress.data.stored import Stored, Table
from onnxcompress.errors import DataError

_DTYPES: dict[str, np.dtype] = {
    **{f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(np.bool_),
}


def read_safetensors(path: Path) -> Table:
    """The tensors of the file by name, mapped.

    Raises:
        DataError: Where the file is damaged or holds a type that no numpy array has.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as checked:
            names = sorted(checked.keys())
    except SafetensorError as error:
        raise _unreadable(path, f"it is not a complete safetensors file ({error})") from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {name: _entry(path, name, header[name], 8 + length) for name in names}


def _entry(path: Path, name: str, info: dict, base: int) -> Stored:
    if info["dtype"] not in _DTYPES:
        raise _unreadable(path, f"tensor {name!r} has the type {info['dtype']}")
    shape, dtype, start = tuple(info["shape"]), _DTYPES[info["dtype"]], base + info["data_offsets"][0]

    def load() -> np.ndarray:
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", start, shape or (1,)).reshape(shape)

    return Stored(shape, dtype, load)


def _unreadable(path: Path, why: str) -> DataError:
    hint = "Save it again with safetensors.numpy.save_file."
    return DataError(f"cannot read {path.name}", why=why, hint=hint, code="DATA-DAMAGED")
