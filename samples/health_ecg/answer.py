"""Answer one sample and print the most memory that this took: `python samples/health_ecg/answer.py FILE` (Linux)."""

from __future__ import annotations

import resource
import sys

import numpy as np
import onnxruntime as ort


def main() -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    (entering,) = session.get_inputs()
    sample = np.zeros([1, *entering.shape[1:]], np.float32)
    session.run(None, {entering.name: sample})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main()
