"""The house's form, held by reading the source: short functions, short files, names that say something, docstrings."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "onnxcompress"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE, MAX_FUNCTION, MEDIAN_FUNCTION = 300, 40, 8
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc|stuff)(_|$)")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError\(\)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines of the body, its docstring left out: what a reader has to follow."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=named)
def test_file(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE, "split it by what its parts are about"
    assert not BANNED_NAMES.search(path.stem), "name the file for what is in it"
    assert not UNFINISHED.search(text), "finish it, or refuse it by name"
    long = {f.name: n for f in functions(path) if (n := body_lines(f)) > MAX_FUNCTION}
    assert not long, f"functions over {MAX_FUNCTION} lines"
    annotated = any(isinstance(node, Function | ast.AnnAssign) for node in ast.walk(tree(path)))
    assert "from __future__ import annotations" in text or not annotated


@pytest.mark.parametrize("path", FILES, ids=named)
def test_public_things_have_docstrings(path):
    module = tree(path)
    assert not text_of_module(path) or ast.get_docstring(module), "say what the module is"
    assert not list(undocumented(module)), "public, and without a docstring"


def text_of_module(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def undocumented(module: ast.Module) -> Iterator[str]:
    """Public functions, classes and methods without a docstring; a method of a subclass may inherit its base's."""
    for node in module.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None and "overload" not in map(ast.unparse, node.decorator_list):
                yield node.name
            if isinstance(node, ast.ClassDef) and not node.bases:
                yield from (f"{node.name}.{m.name}" for m in methods(node) if ast.get_docstring(m) is None)


def methods(node: ast.ClassDef) -> Iterator[Function]:
    return (m for m in node.body if isinstance(m, Function) and not m.name.startswith("_"))


def test_functions_are_short_on_the_whole():
    lengths = [body_lines(f) for path in FILES for f in functions(path)]
    assert statistics.median(lengths) <= MEDIAN_FUNCTION


def test_no_machine_is_named_anywhere():
    """No absolute path of somebody's machine, no registry host."""
    pattern = re.compile(r"(?<![\w.])/(work|home|root|Users)/\w|https?://(pypi|download\.pytorch|files\.pythonhosted)")
    kept = {"Makefile", ".ci/run", "pyproject.toml", "README.md", "CONTRIBUTING.md"}
    folders = [PACKAGE, ROOT / "samples", ROOT / "benchmarks", ROOT / "docs"]
    texts = [ROOT / name for name in kept if (ROOT / name).is_file()]
    texts += [p for folder in folders for p in folder.rglob("*") if p.suffix in {".py", ".md", ".toml", ".sh"}]
    assert not [named(p) for p in texts if pattern.search(p.read_text(encoding="utf-8"))]
