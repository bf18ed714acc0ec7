"""Train a 1-D residual network on heart beats; seeded, the same file on every run of one machine.

    python samples/health_ecg/train.py [--width 32] [--seed 0] [-o FILE]

Without options it writes ecg.onnx, of three seeds the one with the least loss on other beats of the patients of the
training data (`x_same`; the new patients have no say), and ecg_half.onnx, of half the width, with the first seed.
Input `beat` N x 1 x 150, output `logits` N x 3 (AAMI's groups N, S and V).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
WIDTH, EPOCHS, BATCH, RATE = 32, 10, 64, 4e-3
SEEDS = (0, 1, 2)
CLASS_WEIGHTS = (1.0, 3.0, 1.0)  # the rare beats count thrice


class Block(nn.Module):
    """Two convolutions of five steps beside a shortcut."""

    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(entering, leaving, 5, stride, 2, bias=False)
        self.bn1 = nn.BatchNorm1d(leaving)
        self.conv2 = nn.Conv1d(leaving, leaving, 5, 1, 2, bias=False)
        self.bn2 = nn.BatchNorm1d(leaving)
        cut = nn.Sequential(nn.Conv1d(entering, leaving, 1, stride, bias=False), nn.BatchNorm1d(leaving))
        self.shortcut = nn.Identity() if entering == leaving and stride == 1 else cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(inner + self.shortcut(x))


def network(width: int) -> nn.Sequential:
    """A stem and three blocks: width, 2 x width, 4 x width."""
    stem = [nn.Conv1d(1, width, 7, 2, 3, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    blocks = [Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4 * width, 3))


def views(beats: torch.Tensor) -> torch.Tensor:
    """Shifted by up to 4 steps (22 ms) and up to some tens of per cent larger or smaller."""
    shift = int(torch.randint(-4, 5, (1,)))
    return torch.roll(beats, shift, -1) * (1 + 0.2 * torch.randn(len(beats), 1, 1))


def train(width: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = np.load(HERE.parent / "data" / "ecg.npz")
    x, y = torch.from_numpy(data["x_train"]).float() / 16, torch.from_numpy(data["y_train"]).long()
    model, weights = network(width), torch.tensor(CLASS_WEIGHTS)
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x))[: len(x) // BATCH * BATCH].view(-1, BATCH):
            loss = F.cross_entropy(model(views(x[rows])), y[rows], weight=weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def loss_of_known(model: nn.Module) -> float:
    """Cross-entropy of the beats of known patients that were not trained on."""
    data = np.load(HERE.parent / "data" / "ecg.npz")
    with torch.no_grad():
        logits = model(torch.from_numpy(data["x_same"]).float() / 16)
    return float(F.cross_entropy(logits, torch.from_numpy(data["y_same"]).long()))


def export(model: nn.Module, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 150),),
        str(path),
        input_names=["beat"],
        output_names=["logits"],
        dynamic_axes={"beat": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, help="channels of the first layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", dest="output", type=Path, help="file that is written")
    given = parser.parse_args()
    if given.output is not None:
        print(export(train(given.width or WIDTH, given.seed), given.output))
        return
    print(export(min((train(WIDTH, seed) for seed in SEEDS), key=loss_of_known), HERE / "ecg.onnx"))
    print(export(train(WIDTH // 2, SEEDS[0]), HERE / "ecg_half.onnx"))


if __name__ == "__main__":
    main()
