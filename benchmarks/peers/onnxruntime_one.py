"""Quantize one file by onnxruntime.quantization: preprocess, then quantize_static to Q/DQ, U8S8, per channel.

Options: method (MinMax, Percentile, Entropy), heavy (only Conv, MatMul and Gemm).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from calibrating import Options, Run, answer, new_enough
from onnxruntime import quantization as tool
from onnxruntime.quantization.shape_inference import quant_pre_process


class Reader(tool.CalibrationDataReader):
    """The runs, one after the other."""

    def __init__(self, runs: list[Run]) -> None:
        self._left: Iterator[Run] = iter(runs)

    def get_next(self) -> Run | None:
        """The next run's inputs."""
        return next(self._left, None)


def quantize(model: str, runs: list[Run], out: str, options: Options) -> None:
    """Write the quantized file."""
    method = tool.CalibrationMethod[options["method"]]
    extra = {"CalibPercentile": 99.99} if options["method"] == "Percentile" else {}
    with tempfile.TemporaryDirectory() as folder:
        ready = str(Path(folder) / "ready.onnx")
        onnx.save(new_enough(model), Path(folder) / "raised.onnx")
        _prepared(str(Path(folder) / "raised.onnx"), ready)
        tool.quantize_static(
            ready, out, Reader(runs), quant_format=tool.QuantFormat.QDQ, per_channel=True,
            activation_type=tool.QuantType.QUInt8, weight_type=tool.QuantType.QInt8, calibrate_method=method,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"] if options.get("heavy") else None, extra_options=extra,
        )  # fmt: skip


def _prepared(raised: str, ready: str) -> None:
    """Its own preprocessing; without symbolic shapes where those stop it, as its message advises."""
    try:
        quant_pre_process(raised, ready)
    except Exception:  # noqa: BLE001  symbolic shape inference raises plain ones and bare assertions
        quant_pre_process(raised, ready, skip_symbolic_shape=True)


if __name__ == "__main__":
    answer(quantize)
