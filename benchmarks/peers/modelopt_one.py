"""Quantize one file to int8 by nvidia-modelopt's ONNX backend, on the CPU. Options: method (entropy, max)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from calibrating import Options, Run, answer, new_enough
from modelopt.onnx.quantization import quantize as modelopt_quantize


def quantize(model: str, runs: list[Run], out: str, options: Options) -> None:
    """Write the quantized file; samples go in as one array an input, stacked along the first axis."""
    arrays = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "raised.onnx"
        onnx.save(new_enough(model), ready)
        modelopt_quantize(
            str(ready), quantize_mode="int8", calibration_data=arrays, calibration_method=options["method"],
            calibration_eps=["cpu"], high_precision_dtype="fp32", output_path=out,
        )  # fmt: skip


if __name__ == "__main__":
    answer(quantize)
