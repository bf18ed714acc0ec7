"""Train mlp.onnx: 30 - 128 - 64 - 2 on the breast cancer table; seconds on one core.

Input `features` N x 30, z-scored as in data/breast_cancer.npz; output `logits` N x 2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent


def network() -> nn.Sequential:
    """Two hidden layers."""
    layers = [nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2)]
    return nn.Sequential(*layers)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = np.load(HERE.parent / "data" / "breast_cancer.npz")
    x, y = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"])
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(200):
        loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = model(torch.from_numpy(data["x_test"])).argmax(1).numpy() == data["y_test"]
    print(f"accuracy on {len(right)} held-out rows: {right.mean():.4f}")
    torch.onnx.export(
        model,
        (torch.zeros(1, 30),),
        str(HERE / "mlp.onnx"),
        input_names=["features"],
        output_names=["logits"],
        dynamic_axes={"features": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
