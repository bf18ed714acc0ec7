"""The steps before deployment: their pages show the line that the tool prints, and the script measures what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from onnxcompress.interop.tensorrt import trtexec_command
from onnxcompress.model_io import load
from onnxcompress.recipe import load_recipe

SAMPLES = Path(__file__).parents[2] / "samples"
CNN = SAMPLES / "models" / "cnn.onnx"


def test_the_page_shows_the_trtexec_line_as_it_is_printed() -> None:
    line = trtexec_command("../../out/cnn.trt.onnx", load(CNN), {"image": (8, 1, 28, 28)})
    page = (SAMPLES / "tensorrt_pipeline" / "README.md").read_text(encoding="utf-8")
    assert f"    {line}\n" in page


def test_both_recipes_differ_in_their_target_alone() -> None:
    tensorrt, ort = (load_recipe(SAMPLES / f"{name}_pipeline" / "recipe.toml") for name in ("tensorrt", "onnxruntime"))
    assert tensorrt.entries() == ort.entries()
    assert (tensorrt.settings, ort.settings) == ({"target": "tensorrt"}, {"target": "ort-cpu"})


def test_the_script_measures_accuracy_and_percentiles() -> None:
    script = SAMPLES / "onnxruntime_pipeline" / "infer.py"
    done = subprocess.run([sys.executable, str(script), str(CNN)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["model"] == "cnn.onnx"
    assert 98 < told["accuracy"] < 99.5
    assert 0 < told["median_ms"] <= told["p90_ms"] <= told["p99_ms"]
