"""A real plug-in: built and installed by pip into a folder of its own, then run by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import onnx.parser
import pytest

PACKAGE = Path(__file__).parent / "plugin_pkg"

MODEL = """<ir_version: 8, opset_import: ["": 18]> g (float[N,2] x) => (float[N,2] y)
    { a = Neg(x) b = Neg(a) y = Relu(b) }"""

RUN = """
import json, sys
import onnxcompress as oc
from onnxcompress.registry import describe, make_pass, pass_names
result = oc.PassManager([make_pass("merge-negations", {"most": "5"})]).run(sys.argv[1])
info = describe("merge-negations")
print(json.dumps({
    "ops": [n.op_type for n in result.model.graph],
    "codes": [f.code for f in result.report.findings],
    "recipe": result.report.recipe,
    "last": pass_names()[-1],
    "summary": info.summary,
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in in a folder, built from a copy so that no build output lands in the source."""
    folder = tmp_path_factory.mktemp("plugin")
    source, target = folder / "source", folder / "site"
    for file in (p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix in (".py", ".toml", ".md")):
        copy = source / file.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


def python(code: str, *arguments: str, path: Path | None, **env: str) -> subprocess.CompletedProcess[str]:
    entries = [str(p) for p in (path, Path(__file__).parents[1]) if p is not None]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entries), "OMP_NUM_THREADS": "1"} | env
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_it_runs_by_its_name(installed: Path, tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "model.onnx")
    done = python(RUN, str(tmp_path / "model.onnx"), path=installed)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ops": ["Neg", "Relu"],
        "codes": ["NEGATION-MERGED"],
        "recipe": [{"pass": "merge-negations", "most": 5}],
        "last": "merge-negations",
        "summary": "Take out two Neg nodes in a row: -(-x) is x.",
    }


@pytest.mark.ci
def test_it_conforms(installed: Path) -> None:
    code = """
from onnxcompress.registry import make_pass
from onnxcompress.testing import check_pass
print(check_pass(make_pass("merge-negations", {})))
"""
    done = python(code, path=installed)
    assert done.stdout.startswith("merge-negations: "), done.stderr


@pytest.mark.parametrize(("with_path", "env"), [(False, {}), (True, {"ONNXCOMPRESS_NO_PLUGINS": "1"})])
def test_it_is_unknown_where_not_installed_or_switched_off(installed: Path, with_path: bool, env: dict) -> None:
    code = "from onnxcompress.registry import pass_class; pass_class('merge-negations')"
    done = python(code, path=installed if with_path else None, **env)
    assert done.returncode == 1
    assert "unknown pass 'merge-negations'" in done.stderr


def test_a_name_that_two_packages_claim_is_an_error_that_names_both(installed: Path, tmp_path: Path) -> None:
    other = tmp_path / "rival-2.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 2.0\n")
    (other / "entry_points.txt").write_text("[onnxcompress.passes]\nmerge-negations = rival:Pass\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r})\nfrom onnxcompress.registry import pass_names; pass_names()"
    done = python(code, path=installed)
    assert "rival" in done.stderr
    assert "onnxcompress-plugin-example" in done.stderr
