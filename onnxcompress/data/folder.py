"""A folder of .npy or .npz files, or of pictures: which files count, in which order, and with which labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onnxcompress.data.npz import read_npy, read_npz
from onnxcompress.data.stored import Parts, Stored, Table, of_array
from onnxcompress.errors import DataError

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
ARRAYS = frozenset({".npy", ".npz"})
CLASS_KEY = "labels"


def list_files(folder: Path) -> tuple[list[Path], np.ndarray | None, str]:
    """The sample files of `folder` in sorted order, their labels, and their kind (a suffix, or ``picture``).

    Files that lie in the folder itself carry no label; where there are only sub-folders, each is a class and
    the classes are numbered in the sorted order of their names.

    Raises:
        DataError: Where there is no sample file, or several kinds lie side by side.
    """
    flat = _samples_in(folder)
    classes = [] if flat else sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    by_class = [_samples_in(p) for p in classes]
    files = flat or [path for paths in by_class for path in paths]
    kinds = {_kind(path) for path in files}
    if len(kinds) != 1:
        raise DataError(
            f"cannot use the folder {folder.name} as data",
            why=f"it holds {', '.join(sorted(kinds))} files side by side" if kinds else "it holds no samples",
            hint="Give a folder of .npy, of .npz or of pictures; class sub-folders make labels.",
            code="DATA-MIXED-FOLDER" if kinds else "DATA-EMPTY",
        )
    labels = None if flat else np.repeat(np.arange(len(classes)), [len(paths) for paths in by_class])
    return files, labels, kinds.pop()


def read_array_folder(files: list[Path], labels: np.ndarray | None, kind: str) -> Table:
    """The .npy or .npz files as one table; every file has the same keys.

    Raises:
        DataError: Where a file is damaged or lacks a key that others have.
    """
    tables = [_array_file(path, kind) for path in files]
    keys = sorted(tables[0])
    for index, table in enumerate(tables):
        if sorted(table) != keys:
            raise DataError(
                "the files of the data folder differ",
                where=f"file {index}, {files[index].name}",
                why=f"it has the keys {sorted(table)}, and the first file has {keys}",
                hint="Save every file with the same keys.",
                code="DATA-KEYS",
            )
    parts: dict[str, Stored | Parts] = {key: _parts([table[key] for table in tables]) for key in keys}
    return parts if labels is None else {**parts, CLASS_KEY: of_array(labels)}


def _samples_in(folder: Path) -> list[Path]:
    visible = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return sorted(p for p in visible if p.suffix.lower() in PICTURES | ARRAYS)


def _kind(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in ARRAYS else "picture"


def _array_file(path: Path, kind: str) -> dict[str, Stored]:
    table = read_npz(path) if kind == ".npz" else read_npy(path)
    return {key: entry for key, entry in table.items() if isinstance(entry, Stored)}


def _parts(entries: list[Stored]) -> Parts:
    dtype = np.result_type(*{entry.dtype for entry in entries})
    return Parts([entry.shape for entry in entries], dtype, lambda i: entries[i].load())
