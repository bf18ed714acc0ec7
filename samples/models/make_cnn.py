"""Train cnn.onnx: a small residual network with BatchNorm on 4,000 MNIST pictures; a few minutes on one core.

Input `image` N x 1 x 28 x 28, (x / 255 - 0.1307) / 0.3081; output `logits` N x 10. Same weights on every run of one
PyTorch version.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
MEAN, STD = 0.1307, 0.3081
EPOCHS, BATCH, RATE = 12, 64, 2e-3


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution and BatchNorm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))


class SmallResNet(nn.Module):
    """32 channels at 28 x 28, a residual block of 64 at 14 x 14, 192 at 7 x 7, then the mean and ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = conv(1, 32), conv(32, 64, 2)
        self.left, self.right = conv(64, 64), conv(64, 64)
        self.top, self.head = conv(64, 192, 2), nn.Linear(192, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.down(F.relu(self.stem(image))))
        x = F.relu(x + self.right(F.relu(self.left(x))))
        x = F.relu(self.top(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def warp(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate by up to 12 degrees, scale by up to 10 %, shift by up to two pixels: what handwriting does anyway."""
    angle, zoom, dx, dy = (torch.rand(4, len(images), generator=generator) * 2 - 1).unbind()
    angle, zoom = angle * 0.2, 1 + zoom * 0.1
    rows = [zoom * angle.cos(), -zoom * angle.sin(), dx / 7, zoom * angle.sin(), zoom * angle.cos(), dy / 7]
    grid = F.affine_grid(torch.stack(rows, 1).reshape(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def train(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Adam with one cosine, all seeds fixed."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-3)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)[: len(images) // BATCH * BATCH]
        total = 0.0
        for rows in order.split(BATCH):
            batch = (warp(images[rows], generator) - MEAN) / STD
            loss = F.cross_entropy(model(batch), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss)
        print(f"epoch {epoch + 1:2} of {EPOCHS}: loss {total * BATCH / len(order):.3f}", flush=True)


def export(model: nn.Module, path: Path) -> None:
    """BatchNorm stays a node of its own (PRESERVE), so that the samples have something to fold."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 28, 28),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data = np.load(HERE.parent / "data" / "mnist.npz")
    images = {part: torch.from_numpy(data[f"x_{part}"][:, None] / np.float32(255)) for part in ("train", "test")}
    labels = {part: torch.from_numpy(data[f"y_{part}"].astype(np.int64)) for part in ("train", "test")}
    model = SmallResNet()
    train(model, images["train"], labels["train"])
    model.eval()
    with torch.no_grad():
        answers = model((images["test"] - MEAN) / STD).argmax(1)
    print(f"accuracy on {len(answers)} held-out pictures: {float((answers == labels['test']).float().mean()):.4f}")
    export(model, HERE / "cnn.onnx")


if __name__ == "__main__":
    main()
