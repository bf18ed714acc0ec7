"""Add quantized twins (Q/DQ, `quantize`) of some of the zoo's files.

python benchmarks/zoo/quantize.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.shapes import probe_feeds

NAMES = ("resnet_option_a", "shufflenet_v2", "mobilenet_v3", "yolo", "unet", "vit", "bert", "resnet20_cifar10",
         "mobilenetv3_small_w1", "vit_classifier", "bert_classifier", "swin_classifier")  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    for name in NAMES:
        path, target = folder / f"{name}.legacy.onnx", folder / f"{name}_qdq.legacy.onnx"
        if path.exists() and not target.exists():
            model = model_io.load(str(path))
            feeds = [probe_feeds(model, batch=2, seed=seed) for seed in range(8)]
            data = {key: np.concatenate([feed[key] for feed in feeds]) for key in feeds[0]}
            oc.quantize(str(path), data=data).save(target)
            print(target.name, file=sys.stderr)


if __name__ == "__main__":
    main()
