"""AlexNet (Krizhevsky 2014, one tower): five convolutions, then three dense layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

FILTERS, HIDDEN = (64, 192, 384, 256, 256), 4096


def build(width: float, classes: int, channels: int, size: int) -> nn.Module:
    """The network, `size` pixels a side (63 or more), every layer `width` times as wide as published.

    At width 1, 1000 classes, 3 channels and 224 pixels it has the 61,100,840 parameters of the one-tower form.
    """
    a, b, c, d, e = (max(1, round(width * f)) for f in FILTERS)
    hidden = max(1, round(width * HIDDEN))
    side = size
    for kernel, stride, padding in ((11, 4, 2), (3, 2, 0), (3, 2, 0), (3, 2, 0)):
        side = (side + 2 * padding - kernel) // stride + 1
    layers = {
        "conv1": nn.Conv2d(channels, a, 11, stride=4, padding=2), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(3, 2),
        "conv2": nn.Conv2d(a, b, 5, padding=2), "relu2": nn.ReLU(), "pool2": nn.MaxPool2d(3, 2),
        "conv3": nn.Conv2d(b, c, 3, padding=1), "relu3": nn.ReLU(),
        "conv4": nn.Conv2d(c, d, 3, padding=1), "relu4": nn.ReLU(),
        "conv5": nn.Conv2d(d, e, 3, padding=1), "relu5": nn.ReLU(), "pool5": nn.MaxPool2d(3, 2),
        "flatten": nn.Flatten(), "drop6": nn.Dropout(0.5), "fc6": nn.Linear(e * side**2, hidden), "relu6": nn.ReLU(),
        "drop7": nn.Dropout(0.5), "fc7": nn.Linear(hidden, hidden), "relu7": nn.ReLU(),
        "fc8": nn.Linear(hidden, classes),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))
