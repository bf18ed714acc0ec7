"""What calibration costs: seconds and memory as multiples of simply running the float model on the same samples.

    python benchmarks/calibration.py [MODEL SAMPLES.npz]...

Ours: the statistics of every tensor that `quantize` needs a range for, and that range by the rule named. Peers are
the calibrators of onnxruntime.quantization with their own default settings. Each in a fresh process, one thread;
processor seconds, so that a shared machine does not enter. Medians of five runs below 10 s, of three below 2 minutes,
one above. By default the CNN of the samples.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("plain run", "mse", "kl", "ORT MinMax", "ORT Entropy", "ORT Percentile")
SAMPLES = 200


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(_measure(*sys.argv[2:5])))
        return
    print(f"load at start: {os.getloadavg()[0]:.2f}; {SAMPLES} samples, 1 thread")
    for model, samples in _cases():
        rows = {method: _in_process(method, model, samples) for method in METHODS}
        base = rows["plain run"]
        print(f"\n{Path(model).stem}\n| method | s | x plain run | peak MB above plain run |\n|---|---|---|---|")
        for method, (seconds, peak) in rows.items():
            print(f"| {method} | {seconds:.2f} | {seconds / base[0]:.1f} | {peak - base[1]:.0f} |")


def _cases() -> Iterator[tuple[str, str]]:
    given = sys.argv[1:]
    if not given:
        with tempfile.TemporaryDirectory() as folder:
            yield str(ROOT / "samples/models/cnn.onnx"), str(_digits(Path(folder)))
    yield from zip(given[::2], given[1::2], strict=True)


def _digits(folder: Path) -> Path:
    """The CNN's pictures, preprocessed, under its input's name."""
    with np.load(ROOT / "samples/data/mnist.npz") as archive:
        pictures = (archive["x_train"][:SAMPLES, None] / 255.0 - 0.1307) / 0.3081
    np.savez(folder / "digits.npz", image=pictures.astype(np.float32))
    return folder / "digits.npz"


def _in_process(method: str, model: str, samples: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--one", method, model, samples]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds, peak


def _measure(method: str, model: str, samples: str) -> tuple[float, float]:
    with np.load(samples) as archive:
        arrays = {key: archive[key][:SAMPLES] for key in archive.files}
    run = _ours(method, model, arrays) if not method.startswith("ORT") else _theirs(method[4:], model, arrays)
    taken = [_timed(run)]
    rounds = 5 if taken[0] < 10 else 3 if taken[0] < 120 else 1
    taken += [_timed(run) for _ in range(rounds - 1)]
    return statistics.median(taken), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _timed(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _ours(method: str, model: str, arrays: dict[str, np.ndarray]) -> Callable[[], object]:
    from onnxcompress import model_io
    from onnxcompress.calibrators import calibrator
    from onnxcompress.calibrators.streaming import collect
    from onnxcompress.data import ArraySource
    from onnxcompress.passes.insert_qdq import InsertQDQ
    from onnxcompress.passes.quantization.draft import Draft
    from onnxcompress.runtime import run_source
    from onnxcompress.runtime_options import RuntimeOptions
    from onnxcompress.testing import context

    options, source = RuntimeOptions(threads=1), ArraySource(arrays)
    loaded = model_io.load(model)
    if method == "plain run":
        return lambda: sum(1 for _ in run_source(loaded, source, options=options, batch=16))
    wanted = list(Draft.begin(loaded, context(loaded, data=source), InsertQDQ()).plan.members())
    rule = calibrator(method)

    def run() -> object:
        found = collect(loaded, source, wanted, options=options)
        return {name: rule(histogram) for name, histogram in found.items()}

    return run


def _theirs(method: str, model: str, arrays: dict[str, np.ndarray]) -> Callable[[], object]:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = ({k: v[i : i + 1] for k, v in arrays.items()} for i in range(SAMPLES))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    def run() -> object:
        with tempfile.TemporaryDirectory() as folder:
            kind = CalibrationMethod[method]
            made = create_calibrator(model, None, str(Path(folder) / "augmented.onnx"), kind)
            made.collect_data(Reader())
            return made.compute_data()

    return run


if __name__ == "__main__":
    main()
