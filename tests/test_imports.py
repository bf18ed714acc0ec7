"""The arrows between the rooms go one way, and what must start fast imports nothing heavy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "onnxcompress"
NAME = "onnxcompress"

FLOORS = [
    {"cli", "__main__"},
    {
        "api",
        "comparing",
        "explaining",
        "manager",
        "order",
        "measurement",
        "registry",
        "recipe",
        "data_options",
        "pruning_recipe",
        "distillation_recipe",
        "quantization_recipe",
        "result",
        "settling",
        "several",
        "testing",
    },
    {"passes", "interop"},
    {"distill", "calibrators", "verify"},
    {"runtime", "shapes", "cost", "data", "targets", "environment", "executors", "report.page"},
    {"graph"},
    {"model_io"},
    {"errors", "duration", "runtime_options", "passes.base", "report"},
]
"""From the roof to the ground: a room may use what is on its own floor or below it."""

LEVEL = {room: height for height, floor in enumerate(reversed(FLOORS)) for room in floor}
STRINGS_ONLY = {"registry", NAME}  # they name their classes by string, and the package itself is lazy


def room_of(module: str) -> str:
    """``onnxcompress.data.npz`` lies in the room ``data``.

    What a pass and a report *are* lies on the ground, apart from the passes and from what draws a report.
    """
    inside = module.split(".")[1:]
    if inside[:1] == ["report"] and len(inside) > 1 and inside[1] != "records":
        return "report.page"
    first = ".".join(inside[:2])
    return first if first in LEVEL else (inside[0] if inside else NAME)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """Modules that a file imports; imports for type checkers do not run and do not count."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.FunctionDef) and not lazy:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            yield node.module
            submodules = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (m for m in submodules if (ROOT / Path(*m.split("."))).with_suffix(".py").exists())
        todo.extend(ast.iter_child_nodes(node))


FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [module_of(path) for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_arrows_go_down(path: Path) -> None:
    here = room_of(module_of(path))
    if here in STRINGS_ONLY:
        return
    there = {room_of(m) for m in imported(path) if m.split(".")[0] == NAME} - {here, NAME}
    if here == "report":
        there.discard("report.page")  # a report prints itself, by a late import
    unknown = (there | {here}) - LEVEL.keys()
    assert not unknown, "a new room needs its floor in this test"
    assert not {room for room in there if LEVEL[room] > LEVEL[here]}, f"{here} reaches up"


def test_no_two_rooms_need_each_other_to_load():
    arrows = {
        (room_of(module_of(path)), room_of(m))
        for path in FILES
        for m in imported(path, lazy=False)
        if m.split(".")[0] == NAME and room_of(module_of(path)) not in STRINGS_ONLY
    }
    assert not {(a, b) for a, b in arrows if a != b and (b, a) in arrows}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_only_distill_imports_torch(path: Path) -> None:
    if room_of(module_of(path)) != "distill":
        assert "torch" not in {m.split(".")[0] for m in imported(path)}


@pytest.mark.parametrize("path", sorted((PACKAGE / "passes").glob("*.py")), ids=lambda p: p.stem)
def test_a_pass_module_loads_nothing_heavy(path: Path) -> None:
    roots = {m.split(".")[0] for m in imported(path, lazy=False)}
    assert not roots & {"numpy", "onnx", "onnx_ir", "onnxruntime", "torch", "ml_dtypes"}


@pytest.mark.parametrize("module", [NAME, f"{NAME}.registry", f"{NAME}.passes.base", f"{NAME}.errors"])
def test_loads_light(module: str) -> None:
    heavy = ("numpy", "onnx", "onnx_ir", "onnxruntime", "torch", "typer", "rich")
    code = f"import sys, {module}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
