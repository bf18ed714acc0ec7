"""npy and npz files: nothing is unpickled, nothing is inflated before its header has been believed.

A member's header must account for every byte that the archive's directory promises. Members stored without
compression are mapped; compressed ones are inflated at the first use, large ones into an unlinked temporary file.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Literal, TypeAlias

import numpy as np
from numpy.lib import format as npy_format

from onnxcompress.data.stored import Stored, Table
from onnxcompress.errors import DataError

MAX_RATIO = 200
IN_MEMORY = 1 << 28  # bytes; below this a bomb does no harm and a temporary file gains nothing
_LOCAL_HEADER = 30
_Order: TypeAlias = Literal["C", "F"]


def read_npy(path: Path) -> dict[str, Stored]:
    """The array of a .npy file as a table with one unnamed entry.

    Raises:
        DataError: Where it is damaged, or holds Python objects.
    """
    with path.open("rb") as file:
        shape, dtype, _ = read_header(file, str(path))
        offset = file.tell()
    if offset + _bytes(shape, dtype) > path.stat().st_size:
        raise _damaged(path.name, f"its header promises {_bytes(shape, dtype)} bytes, and the file ends before")
    return {"": Stored(shape, dtype, lambda: np.load(path, mmap_mode="r" if shape else None, allow_pickle=False))}


def read_npz(path: Path) -> Table:
    """The arrays of an .npz file by key; each is read when it is used.

    Raises:
        DataError: Where the archive or a header is damaged, a member is a zip bomb, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename.removesuffix(".npy"): _member(archive, path, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path.name, f"it is not a complete npz archive ({error})") from error


def read_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, dtype and Fortran order of an npy stream that stands at its start.

    Raises:
        DataError: Where the header is damaged or declares Python objects.
    """
    try:
        version = npy_format.read_magic(file)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError, SyntaxError) as error:
        raise _damaged(where, f"it does not start with a valid npy header ({error})") from error
    if dtype.hasobject:
        raise DataError(
            f"cannot read {where}",
            why="it holds Python objects, and unpickling a file runs whatever code is in it",
            hint="Save plain arrays: np.savez(path, x=np.stack(samples)).",
            code="DATA-PICKLE",
        )
    if any(size < 0 for size in shape):
        raise _damaged(where, f"it declares the shape {shape}")
    return shape, dtype, fortran


def _member(archive: zipfile.ZipFile, path: Path, info: zipfile.ZipInfo) -> Stored:
    where = f"{path.name}, key {info.filename.removesuffix('.npy')!r}"
    with archive.open(info) as file:
        shape, dtype, fortran = read_header(file, where)
        offset = file.tell()
    if offset + _bytes(shape, dtype) != info.file_size:
        raise _damaged(where, f"its header promises {_bytes(shape, dtype)} bytes, not {info.file_size - offset}")
    if info.file_size > IN_MEMORY and info.file_size > MAX_RATIO * info.compress_size:
        raise DataError(
            f"refused to inflate {where}",
            why=f"{info.compress_size} bytes would become {info.file_size}",
            hint="Save it with np.savez (not compressed) if it is meant.",
            code="DATA-BOMB",
        )

    def load() -> np.ndarray:
        return _load_member(path, info, offset, shape, dtype, fortran)

    return Stored(shape, dtype, load)


def _load_member(
    path: Path, info: zipfile.ZipInfo, offset: int, shape: tuple[int, ...], dtype: np.dtype, fortran: bool
) -> np.ndarray:
    order: _Order = "F" if fortran else "C"
    if info.compress_type == zipfile.ZIP_STORED and math.prod(shape):
        with path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
        start = info.header_offset + _LOCAL_HEADER + sum(np.frombuffer(header[26:30], "<u2").tolist())
        return np.memmap(path, dtype, "r", start + offset, shape, order)
    try:
        return _inflate(path, info, offset, shape, dtype, order)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        where = f"{path.name}, key {info.filename.removesuffix('.npy')!r}"
        raise _damaged(where, f"it does not inflate ({error})") from error


def _inflate(
    path: Path, info: zipfile.ZipInfo, offset: int, shape: tuple[int, ...], dtype: np.dtype, order: _Order
) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(info) as member:
        if info.file_size <= IN_MEMORY:
            flat = np.frombuffer(member.read()[offset:], dtype)
            return flat.reshape(shape, order=order)
        with tempfile.TemporaryFile() as spill:
            shutil.copyfileobj(member, spill, 1 << 20)
            spill.flush()
            return np.memmap(spill, dtype, "r", offset, shape, order)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _damaged(where: str, why: str) -> DataError:
    return DataError(
        f"cannot read {where}", why=why, hint="Save it again with np.save or np.savez.", code="DATA-DAMAGED"
    )
