"""Networks of the kind that papers report on, trained on Fashion-MNIST: a folder for ONNXCOMPRESS_BENCH.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/likes.py OUT [NAME ...]

resnet20 and resnet56 (He et al. 2015, section 4.2, as for CIFAR-10) and mobilenetv2 (training_nets.py), on the 12,000
training pictures, mirrored and moved by chance; OUT/NAME.onnx has batch normalization as nodes, OUT/NAME.json says
whose samples it reads (see cases.py). One thread; a quarter of an hour each, resnet56 three times that.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from catalog import catalog
from torch import nn
from torch.nn import functional as nnf
from training_nets import Logits, MobileNetV2, ResNet

NETS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: ResNet(3, channels=1),
    "mobilenetv2": lambda: MobileNetV2(channels=1),
    "resnet56": lambda: ResNet(9, channels=1),
}
SAMPLES, INPUT = "fmnist_resnet8", "input"
PICTURES, BATCH, EPOCHS, RATE, DECAY, REACH = 12_000, 64, 16, 4e-3, 5e-2, 2


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Prepared training pictures, N x 1 x 28 x 28, and their classes.

    Raises:
        ValueError: Without labels there is nothing to train on.
    """
    samples = catalog(Path(os.environ["ONNXCOMPRESS_TEST_DATA"]), PICTURES)[SAMPLES].samples()
    if samples.train_labels is None:
        raise ValueError(f"{SAMPLES} has no labels")
    return torch.from_numpy(samples.train[INPUT]), torch.from_numpy(samples.train_labels.astype(np.int64))


def train(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """AdamW, one cycle, smoothed labels."""
    generator = torch.Generator().manual_seed(0)
    steps = len(images) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(images), generator=generator)[: steps * BATCH].split(BATCH):
            loss = nnf.cross_entropy(net(_moved(images[rows], generator)), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / steps:.3f}", flush=True)


def _moved(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    mirrored = torch.rand(len(batch), generator=generator) < 0.5
    batch = torch.where(mirrored[:, None, None, None], batch.flip(-1), batch)
    dy, dx = (int(v) for v in torch.randint(-REACH, REACH + 1, (2,), generator=generator))
    return torch.roll(batch, (dy, dx), (2, 3))


def export(net: nn.Module, path: Path) -> None:
    """The file, and beside it what it reads."""
    torch.onnx.export(
        net.eval(),
        (torch.zeros(1, 1, 28, 28),),
        str(path),
        input_names=[INPUT],
        output_names=["logits"],
        dynamic_axes={INPUT: {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )
    path.with_suffix(".json").write_text(json.dumps({"samples": SAMPLES}) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=list(NETS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in given.names:
        torch.manual_seed(0)
        net = Logits(NETS[name]())
        train(net, *pictures())
        export(net, given.out / f"{name}.onnx")


if __name__ == "__main__":
    main()
