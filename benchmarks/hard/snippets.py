"""Beginnings of files of known type: those of this Python and its packages, and some made on the spot."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import sys
import tarfile
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {
    ".py": "python", ".pyc": "pythonbytecode", ".c": "c", ".cpp": "cpp", ".json": "json", ".toml": "toml",
    ".yaml": "yaml", ".yml": "yaml", ".md": "markdown", ".html": "html", ".css": "css", ".js": "javascript",
    ".ts": "typescript", ".ttf": "ttf", ".png": "png", ".jpg": "jpeg", ".gif": "gif", ".svg": "svg", ".npz": "npz",
    ".npy": "npy", ".zip": "zip", ".gz": "gzip", ".rst": "rst", ".sh": "shell", ".ini": "ini", ".xml": "xml",
    ".so": "elf", ".proto": "proto", ".cmake": "cmake", ".csv": "csv", ".onnx": "onnx", ".pdf": "pdf",
    ".ipynb": "ipynb",
    ".pl": "perl", ".pm": "perl", ".rb": "ruby", ".sql": "sql", ".bat": "batch", ".exe": "pebin", ".tcl": "tcl",
    ".f90": "fortran", ".java": "java", ".scss": "scss", ".awk": "awk", ".m4": "m4", ".po": "po", ".woff2": "woff2",
}  # fmt: skip
FOLDERS = (Path(sys.prefix), Path(sys.base_prefix) / "lib", Path("/usr/share"), Path("/usr/lib"))
EACH = 16


def snippets() -> Iterator[tuple[bytes, str]]:
    """At most `EACH` files a type, by name, each as its content and its type."""
    taken: dict[str, int] = {}
    seen: set[bytes] = set()
    for path in _files():
        kind = SUFFIXES[path.suffix]
        if taken.get(kind, 0) < EACH and (content := _read(path)) and content[:256] not in seen:
            seen.add(content[:256])
            taken[kind] = taken.get(kind, 0) + 1
            yield content, kind
    yield from _made()


def _files() -> Iterator[Path]:
    """Files of known type, those of one folder spread out so that no single package fills a type."""
    for folder in FOLDERS:
        found = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        order = np.random.default_rng(0).permutation(len(found))
        yield from (found[i] for i in order)


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        return path.read_bytes() if 200 <= size <= 4_000_000 else b""
    except OSError:
        return b""


def _made() -> Iterator[tuple[bytes, str]]:
    """Formats that every Python can write, from seeded content."""
    for seed in range(EACH):
        rng = np.random.default_rng(seed)
        plain = " ".join(f"item{v}" for v in rng.integers(0, 1000, 200)).encode()
        table = rng.integers(0, 99, (20, 4)).tolist()
        pixels = Image.fromarray(rng.integers(0, 255, (24, 24, 3)).astype(np.uint8))
        yield bz2.compress(plain), "bzip"
        yield lzma.compress(plain), "xz"
        yield gzip.compress(plain, mtime=seed), "gzip"
        yield pickle.dumps(table * 4), "pickle"
        yield json.dumps({"rows": table, "seed": seed}, indent=seed % 3).encode(), "json"
        yield _rows(table), "csv"
        yield from (
            (_picture(pixels, form), kind) for form, kind in (("BMP", "bmp"), ("WEBP", "webp"), ("TIFF", "tiff"))
        )
        yield _sound(rng), "wav"
        yield from _archives(plain)


def _rows(table: list[list[int]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c", "d"], *table])
    return text.getvalue().encode()


def _picture(pixels: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    pixels.save(stream, form)
    return stream.getvalue()


def _sound(rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(rng.integers(-3000, 3000, 2000).astype(np.int16).tobytes())
    return stream.getvalue()


def _archives(plain: bytes) -> Iterator[tuple[bytes, str]]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("items.txt"), plain)
    yield stream.getvalue(), "zip"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        told = tarfile.TarInfo("items.txt")
        told.size = len(plain)
        archive.addfile(told, io.BytesIO(plain))
    yield stream.getvalue(), "tar"


def features(content: bytes, each: int = 1024, padding: int = 256) -> np.ndarray:
    """Magika's input: the first and the last `each` bytes of the stripped first and last 4096 bytes, padded."""
    head, tail = content[:4096].lstrip()[:each], content[-4096:].rstrip()[-each:]
    row = np.full(2 * each, padding, np.int32)
    row[: len(head)] = np.frombuffer(head, np.uint8)
    row[2 * each - len(tail) :] = np.frombuffer(tail, np.uint8)
    return row
