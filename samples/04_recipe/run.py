"""The recipe from Python: the passes are plain objects, the result is a model and a report."""

from __future__ import annotations

from pathlib import Path

import onnxcompress as oc

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "mnist.npz"
PICTURES = {"scale": "1/255", "mean": 0.1307, "std": 0.3081}


def main() -> None:
    model = oc.load(HERE.parent / "models" / "cnn.onnx")
    calibration = oc.open_data(DATA, model, mapping={"image": "x_train"}, samples=500, **PICTURES)
    test = oc.open_data(DATA, model, mapping={"image": "x_test"}, **PICTURES)
    passes = [
        oc.Normalize(),
        oc.FoldBatchNorm(),
        oc.PruneChannels(target_macs="0.5x"),
        oc.Reconstruct(),
        oc.InsertQDQ(calibrator="kl"),
    ]
    result = oc.PassManager(passes, max_drop="1pt").run(model, data=calibration, eval_data=test)
    print(result.report)


if __name__ == "__main__":
    main()
