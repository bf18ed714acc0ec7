"""Quantize one file by onnxsim.quantize_static, U8S8, per channel. Options: method (minmax, mse), full_graph."""

from __future__ import annotations

import onnx
import onnxsim
from calibrating import Options, Run, answer, new_enough


def quantize(model: str, runs: list[Run], out: str, options: Options) -> None:
    """Write the quantized file."""
    made = onnxsim.quantize_static(
        new_enough(model), runs, method=options["method"], full_graph=options["full_graph"], per_channel=True
    )
    onnx.save(made, out)


if __name__ == "__main__":
    answer(quantize)
