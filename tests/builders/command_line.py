"""Running the command line inside the test's process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.parser
import pytest

from onnxcompress.cli.app import run

BATCHNORM = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N,2,4,4] x) => (float[N,2,4,4] y)
<float[2,2,1,1] w = {1.5, 0.5, -1.0, 2.0}, float[2] s = {2, 3}, float[2] b = {0.5, -0.5}, float[2] m = {1, 2},
 float[2] v = {1, 4}>
{
  [conv] c = Conv(x, w)
  [norm] n = BatchNormalization(c, s, b, m, v)
  [act] y = Relu(n)
}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code and the two streams."""

    code: int
    out: str
    err: str


class CommandLine:
    """Calls the command line and catches what it prints."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str | Path) -> Outcome:
        self._capture.readouterr()
        code = run([str(word) for word in words])
        out, err = self._capture.readouterr()
        return Outcome(code, out, err)


def write_model(path: Path, text: str = BATCHNORM) -> Path:
    onnx.save(onnx.parser.parse_model(text), path)
    return path
