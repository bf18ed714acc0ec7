"""Quantize one file by onnxcompress, or only run it in float: the pass that seconds are counted in.

Options: those of `onnxcompress.quantize`; ``{"plain": true}`` for the float pass, 16 samples a run where the batch is
free.
"""

from __future__ import annotations

import numpy as np
from calibrating import Options, Run, answer

import onnxcompress
from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.runtime import run_source
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)


def quantize(model: str, runs: list[Run], out: str, options: Options) -> None:
    """Write the quantized file, or nothing where the samples only pass through the float model."""
    source = ArraySource({name: np.stack([run[name] for run in runs]) for name in runs[0]})
    if options.pop("plain", False):
        for _ in run_source(model_io.load(model), source, options=ONE, batch=16):
            pass
        return
    onnxcompress.quantize(model, data=source, runtime=ONE, **options).save(out)


if __name__ == "__main__":
    answer(quantize)
