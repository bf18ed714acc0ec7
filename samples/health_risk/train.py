"""Train a small network on the breast cancer table; seeded, the same file on every run of one machine.

    python samples/health_risk/train.py [--width 128] [--seed 0] [--fold 0] [-o FILE]

Without options it writes fold0.npz and fold1.npz (the 569 rows of ../data/breast_cancer.npz in two halves of 106
malignant tumours each, either as the training data), risk.onnx and, at half the width, risk_half.onnx, both trained
on fold 0. Input `features` N x 30, scaled by the training half's mean and deviation; output `logits` N x 2; class 1 is
malignant.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
WIDTH = 128


def halves() -> list[dict[str, np.ndarray]]:
    """The two folds: a seeded split of each class; scikit-learn's class 0, malignant, becomes class 1."""
    table = np.load(DATA / "breast_cancer.npz")
    x, y = (np.concatenate([table[f"{key}_{part}"] for part in ("train", "test")]) for key in "xy")
    draw, side = np.random.Generator(np.random.PCG64(0)), np.zeros(len(y), int)
    for label in (0, 1):
        rows = draw.permutation(np.flatnonzero(y == label))
        side[rows[: len(rows) // 2]] = 1
    return [_fold(x, (y == 0).astype(np.int64), side == test) for test in (0, 1)]


def _fold(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    scaled = ((x - x[~test].mean(axis=0)) / x[~test].std(axis=0)).astype(np.float32)
    return {"x_train": scaled[~test], "y_train": y[~test], "x_test": scaled[test], "y_test": y[test]}


def network(width: int) -> nn.Sequential:
    """Two hidden layers: width and half of it."""
    return nn.Sequential(
        nn.Linear(30, width), nn.ReLU(), nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, 2)
    )


def train(width: int, seed: int, fold: int) -> nn.Sequential:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = np.load(HERE / f"fold{fold}.npz")
    x, y = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"])
    model = network(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(200):
        loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def export(model: nn.Module, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        (torch.zeros(1, 30),),
        str(path),
        input_names=["features"],
        output_names=["logits"],
        dynamic_axes={"features": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=WIDTH, help="neurons of the first layer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fold", type=int, default=0, help="which half is the test")
    parser.add_argument("-o", dest="output", type=Path, help="file that is written")
    given = parser.parse_args()
    if given.output is not None:
        print(export(train(given.width, given.seed, given.fold), given.output))
        return
    write = runpy.run_path(str(DATA / "make_data.py"))["write"]
    for number, fold in enumerate(halves()):
        write(HERE / f"fold{number}.npz", fold)
    for width, name in ((WIDTH, "risk.onnx"), (WIDTH // 2, "risk_half.onnx")):
        print(export(train(width, given.seed, 0), HERE / name))


if __name__ == "__main__":
    main()
