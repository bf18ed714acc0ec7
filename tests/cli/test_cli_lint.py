from __future__ import annotations

import json
from pathlib import Path

from builders.command_line import CommandLine, write_model

ASYMMETRIC = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[2,4] x) => (float[2,4] y)
<float s = {0.5}, uint8 z = {7}>
{
  [quantize] q = QuantizeLinear(x, s, z)
  [back] y = DequantizeLinear(q, s, z)
}
"""


def test_a_model_without_faults(cli: CommandLine, model: Path) -> None:
    outcome = cli("lint", model)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert cli("lint", model, "--json").out == "[]\n"


def test_faults_are_listed_by_node_and_rule(cli: CommandLine, tmp_path: Path) -> None:
    faulty = write_model(tmp_path / "faulty.onnx", ASYMMETRIC)
    outcome = cli("lint", faulty)
    assert outcome.code == 3
    assert {line.split()[1] for line in outcome.out.splitlines()} == {"quantize", "back"}
    assert "tensorrt would not run" in outcome.err
    found = json.loads(cli("lint", faulty, "--json").out)
    assert found[0]["code"].startswith("LINT-")


def test_a_target_that_takes_any_placement_has_nothing_to_check(cli: CommandLine, tmp_path: Path) -> None:
    faulty = write_model(tmp_path / "faulty.onnx", ASYMMETRIC)
    assert cli("lint", faulty, "--target", "ort-cpu").code == 0
