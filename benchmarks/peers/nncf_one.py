"""Quantize one file by NNCF's ONNX backend, as its readme does. Options: transformer (model_type)."""

from __future__ import annotations

import nncf
import onnx
from calibrating import Options, Run, answer, new_enough


def quantize(model: str, runs: list[Run], out: str, options: Options) -> None:
    """Write the quantized file."""
    kind = nncf.ModelType.TRANSFORMER if options.get("transformer") else None
    made = nncf.quantize(new_enough(model), nncf.Dataset(runs), subset_size=len(runs), model_type=kind)
    onnx.save(made, out)


if __name__ == "__main__":
    answer(quantize)
