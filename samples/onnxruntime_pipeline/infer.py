"""Run an ONNX file in ONNX Runtime as an application would: accuracy, and the times of single answers.

    python infer.py MODEL [MODEL ...]

Needs onnxruntime and numpy alone; no server, no onnxcompress. Pictures: those held out in samples/data/mnist.npz.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

DATA = Path(__file__).parent.parent / "data" / "mnist.npz"
MEAN, STD = 0.1307, 0.3081
WARM_UP = 20


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Held-out pictures N x 1 x 28 x 28 as the model was trained on them, and their labels."""
    arrays = np.load(DATA)
    scaled = (arrays["x_test"].astype(np.float32) / 255 - MEAN) / STD
    return scaled[:, None].astype(np.float32), arrays["y_test"]


def session(model: Path, threads: int) -> ort.InferenceSession:
    """A session on the processor with a fixed number of threads, as it should be where others share the machine."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure(model: Path, threads: int) -> dict[str, float | str]:
    """Accuracy in percent, and median, 90th and 99th percentile of the milliseconds of an answer, one picture each."""
    runner = session(model, threads)
    (entering,) = runner.get_inputs()
    inputs, labels = pictures()
    for picture in inputs[:WARM_UP]:
        runner.run(None, {entering.name: picture[None]})
    times, answers = [], []
    for picture in inputs:
        begin = time.perf_counter_ns()
        (scores, *_) = runner.run(None, {entering.name: picture[None]})
        times.append((time.perf_counter_ns() - begin) / 1e6)
        answers.append(int(scores[0].argmax()))
    median, p90, p99 = (round(float(value), 3) for value in np.percentile(times, (50, 90, 99)))
    accuracy = round(100 * float((np.array(answers) == labels).mean()), 2)
    told: dict[str, float | str] = {"model": model.name, "kB": round(model.stat().st_size / 1e3, 1)}
    return told | {"accuracy": accuracy, "median_ms": median, "p90_ms": p90, "p99_ms": p99}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, default=[DATA.parent.parent / "models" / "cnn.onnx"])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for model in given.models:
        print(json.dumps(measure(model, given.threads)))


if __name__ == "__main__":
    main()
