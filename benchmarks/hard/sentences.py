"""Sentences of documentation with the package that they describe, as BERT's token ids."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PACKAGES = (
    "torch", "numpy", "sklearn", "PIL", "onnx", "onnxruntime", "rich", "typer", "pytest", "hypothesis", "jinja2",
    "scipy", "sqlite3", "email", "asyncio", "unittest", "multiprocessing", "xml", "http", "tkinter", "logging",
    "mlxtend", "ctypes",
)  # fmt: skip
LENGTH = 48
Labelled = tuple[str, str]


def sentences(each: int = 60) -> list[Labelled]:
    """First sentences of docstrings with their package's name, at most `each` of one; absent ones are left out."""
    return [(text, package) for package in PACKAGES for text in _of(package, each)]


def _of(package: str, each: int) -> list[str]:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return []
    files = sorted(Path(found.submodule_search_locations[0]).rglob("*.py"))
    order = np.random.default_rng(0).permutation(len(files))[:400]
    texts = dict.fromkeys(text for i in order for text in _docstrings(files[i]))
    return list(texts)[:: max(1, len(texts) // each)][:each]


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            if 40 <= len(text) <= 250 and re.fullmatch(r"[\x20-\x7e]+", text):
                yield text


class WordPieces:
    """BERT's uncased tokenizer over a vocabulary whose words begin with U+2581 and whose continuations do not."""

    def __init__(self, vocabulary: Path) -> None:
        entries: list[str] = json.loads(vocabulary.read_text(encoding="utf-8"))
        self._ids = {entry: number for number, entry in reversed(list(enumerate(entries)))}

    def ids(self, text: str, length: int = LENGTH) -> np.ndarray:
        """[CLS] pieces [SEP], cut and padded by 0 to `length`; int64."""
        plain = unicodedata.normalize("NFD", text.lower())
        pieces = [p for word in re.findall(r"\w+|[^\w\s]", plain) for p in self._pieces(word)]
        row = [self._ids["[CLS]"], *pieces[: length - 2], self._ids["[SEP]"]]
        return np.asarray(row + [0] * (length - len(row)), np.int64)

    def _pieces(self, word: str) -> list[int]:
        """Greedy longest match; the unknown token where a part is in no entry."""
        left, found = "\u2581" + word, []
        while left:
            size = next((n for n in range(len(left), 0, -1) if left[:n] in self._ids and left[:n] != "\u2581"), 0)
            if not size:
                return [self._ids["[UNK]"]]
            found.append(self._ids[left[:size]])
            left = left[size:]
        return found
