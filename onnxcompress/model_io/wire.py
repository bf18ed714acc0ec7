"""The outermost layer of a protobuf file, read by seeking: a model is told from junk without parsing it.

A ModelProto is a run of ``tag, value`` fields. Length-delimited values are skipped, so that a file of 2 GB costs a few
dozen reads. (Encoding: protobuf.dev/programming-guides/encoding.)
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import BinaryIO

_GRAPH = 7
_KNOWN_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_MAX_FIELDS = 100_000
_FIXED_SIZES = {1: 8, 5: 4}


class Wire(enum.Enum):
    """What the outermost fields of a file say."""

    MODEL = "model"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"
    NO_GRAPH = "no graph"


class _EndOfFileError(Exception):
    """The file ends inside a field."""


def read_outline(path: Path) -> Wire:
    """Classify a file by its outermost fields.

    Args:
        path: An existing regular file.
    """
    size = path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as file:
        for _ in range(_MAX_FIELDS):
            if file.tell() == size:
                break
            try:
                field = _skip_field(file, size)
            except _EndOfFileError:
                return Wire.TRUNCATED if seen & _KNOWN_FIELDS else Wire.FOREIGN
            if field is None:
                return Wire.FOREIGN
            seen.add(field)
    if not seen & _KNOWN_FIELDS:
        return Wire.FOREIGN
    return Wire.MODEL if _GRAPH in seen else Wire.NO_GRAPH


def _skip_field(file: BinaryIO, size: int) -> int | None:
    """Move behind one field; its number, or None where no field can stand."""
    tag = _varint(file)
    field, kind = tag >> 3, tag & 7
    if field == 0 or field >= 1 << 29:
        return None
    if kind == 0:
        _varint(file)
        return field
    if kind == 2:
        length = _varint(file)
    elif kind in _FIXED_SIZES:
        length = _FIXED_SIZES[kind]
    else:
        return None
    if file.tell() + length > size:
        if field not in _KNOWN_FIELDS:
            return None
        raise _EndOfFileError
    file.seek(length, 1)
    return field


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _EndOfFileError
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    return 0
