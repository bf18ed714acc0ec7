"""External data: only regular files inside the model's folder, opened once, and mapped, never read whole.

A location comes from the model and is therefore hostile. It is resolved with all links, compared with the folder,
opened without following a last link, checked on the open descriptor, and mapped from that same descriptor, so that
nothing can be swapped between check and use.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from onnxcompress.errors import ModelError, ResourceError
from onnxcompress.model_io.limits import Limits

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_KEYS = frozenset({"location", "offset", "length", "checksum"})
_DECIMAL = re.compile(r"[0-9]{1,19}")


@dataclass
class _File:
    """One mapped data file; an empty file has no map."""

    size: int
    map: mmap.mmap | None


@dataclass
class DataFolder:
    """The folder that a model's external data may lie in.

    Attributes:
        folder: Absolute folder of the .onnx file; None for a model that came without one.
        limits: What is allowed beside the plain case.
    """

    folder: Path | None
    limits: Limits
    _files: dict[str, _File] = field(default_factory=dict[str, _File])

    def check(self, tensor: onnx.TensorProto, what: str, where: str, nbytes: int | None) -> None:
        """Refuse a tensor whose external entry is not exactly a slice of a file that may be read.

        Args:
            tensor: A tensor whose data_location is EXTERNAL.
            what: First clause of a message.
            where: The tensor's place.
            nbytes: Bytes that its dims and type ask for; None for strings, which cannot be external.

        Raises:
            ModelError: MODEL-EXTERNAL-KEY, -RANGE, -LOCATION, -OUTSIDE, -MISSING, -NOT-A-FILE, -HARDLINK, -STRING
                or -NO-FOLDER.
        """
        refuse = _Refusals(what, where)
        if nbytes is None:
            raise refuse("text cannot lie in external data", "STRING")
        entries = _entries(tensor, refuse)
        offset = _number(entries, "offset", 0, refuse)
        length = _number(entries, "length", nbytes, refuse)
        if length != nbytes:
            raise refuse(f"length says {length:,} bytes, dims {list(tensor.dims)} ask for {nbytes:,}", "RANGE")
        size = self._open(entries.get("location", ""), refuse).size
        if offset + length > size:
            raise refuse(f"bytes {offset:,} to {offset + length:,} lie behind the file's end at {size:,}", "RANGE")

    def tensor(self, tensor: ir.ExternalTensor) -> ir.TensorProtocol:
        """The checked tensor as a read-only view of the mapped file (little-endian, as ONNX stores it)."""
        import numpy as np
        import onnx_ir as ir

        source = self._files[os.fspath(tensor.location)]
        dtype, dims = tensor.dtype, tensor.shape.numpy()
        packed = dtype.bitwidth < 8
        kind = np.dtype(np.uint8) if packed else dtype.numpy().newbyteorder("<")
        count = tensor.nbytes if packed else tensor.size
        if count == 0 or source.map is None:
            flat = np.zeros(0, dtype=kind)
        else:
            flat = np.frombuffer(source.map, dtype=kind, count=count, offset=tensor.offset or 0)
        name, doc, metadata = tensor.name, tensor.doc_string, dict(tensor.metadata_props) or None
        if packed:
            return ir.PackedTensor(flat, dtype, shape=tensor.shape, name=name, doc_string=doc, metadata_props=metadata)
        return ir.Tensor(
            flat.reshape(dims),
            dtype=dtype,
            shape=tensor.shape,
            name=name,
            doc_string=doc,
            metadata_props=metadata,
        )

    def _open(self, location: str, refuse: _Refusals) -> _File:
        if location not in self._files:
            _check_location(location, refuse)
            self._files[location] = self._map(self._resolve(location, refuse), refuse)
        return self._files[location]

    def _resolve(self, location: str, refuse: _Refusals) -> Path:
        if self.folder is None:
            raise refuse(
                f"its data lies in the file {location!r}, but the model came without a folder",
                "NO-FOLDER",
                "Give the path of the .onnx file, or load the data into the proto first (onnx.load does).",
            )
        real = Path(os.path.realpath(self.folder / location))
        roots = [self.folder, self.limits.allow_external_root]
        if not any(root and real.is_relative_to(os.path.realpath(root)) for root in roots):
            raise refuse(
                f"{location!r} leads to {real}, outside the model's folder",
                "OUTSIDE",
                f"Copy the data file into {self.folder}, or allow its folder by name (Limits.allow_external_root).",
            )
        return real

    def _map(self, path: Path, refuse: _Refusals) -> _File:
        descriptor = _open_checked(path, refuse)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise refuse(f"{path} is not a regular file", "NOT-A-FILE")
            if status.st_nlink > 1 and not self.limits.allow_hardlinks:
                raise refuse(
                    f"{path} has {status.st_nlink} hard links, so it may be a foreign file under this name",
                    "HARDLINK",
                    "Copy the file, or allow hard links if you trust the folder (Limits.allow_hardlinks).",
                )
            # Links in the middle of the path could have been swapped between realpath and open.
            if Path(os.path.realpath(path)) != path:
                raise refuse(f"{path} changed while it was opened", "OUTSIDE")
            size = status.st_size
            return _File(size, mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else None)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class _Refusals:
    """Makes the errors of one tensor."""

    what: str
    where: str

    def __call__(self, why: str, code: str, hint: str = "") -> ModelError:
        advice = hint or "The file is damaged or not to be trusted; export or copy the model and its data again."
        return ModelError(self.what, where=self.where, why=why, hint=advice, code=f"MODEL-EXTERNAL-{code}")


def _entries(tensor: onnx.TensorProto, refuse: _Refusals) -> dict[str, str]:
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in _KEYS or entry.key in entries:
            raise refuse(f"its external data has an unknown or repeated key {entry.key!r}", "KEY")
        entries[entry.key] = entry.value
    return entries


def _number(entries: dict[str, str], key: str, default: int, refuse: _Refusals) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not _DECIMAL.fullmatch(text):
        raise refuse(f"its {key} is {text[:40]!r}, not a number of bytes", "RANGE")
    return int(text)


def _check_location(location: str, refuse: _Refusals) -> None:
    """Only plain relative names, spelled so that they mean the same on every system."""
    path = PurePosixPath(location)
    strange = not location or "\0" in location or "\\" in location or ":" in location
    if strange or path.is_absolute() or ".." in path.parts or path == PurePosixPath():
        raise refuse(
            f"its location {location[:80]!r} is not a plain relative path",
            "LOCATION",
            "External data must lie beside the model or in a folder below it.",
        )


def _open_checked(path: Path, refuse: _Refusals) -> int:
    # O_NONBLOCK: opening a pipe must not wait for a writer. Windows lacks both flags and needs O_BINARY.
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        return os.open(path, flags)
    except FileNotFoundError as error:
        raise refuse(
            f"the data file {path} is not there",
            "MISSING",
            "Put the data file beside the model, under the name that it was exported with.",
        ) from error
    except PermissionError as error:
        if path.is_dir():  # Windows says "permission denied" for a folder
            raise refuse(f"{path} is not a regular file", "NOT-A-FILE") from error
        raise ResourceError(
            refuse.what,
            where=refuse.where,
            why=f"the data file {path} may not be read",
            hint="Check its permissions.",
            code="MODEL-NOT-READABLE",
        ) from error
    except OSError as error:
        raise refuse(f"the data file {path} cannot be opened ({error.strerror})", "NOT-A-FILE") from error
