"""The pictures that the network samples share, as words of the command line: Fashion-MNIST, 4,000 + 1,500."""

from __future__ import annotations

import json
from pathlib import Path

from samples.measure import Measurer

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "samples" / "models"
OUT = ROOT / "out" / "samples"
DATA = ROOT / "samples" / "data" / "fashion.npz"
PREPARED = ("--scale", "1/255", "--mean", "0.2860", "--std", "0.3530")
TRAIN = ("--data", DATA, "--map", "image=x_train", *PREPARED)
CALIBRATION = (*TRAIN, "--samples", "500")
TEST = ("--data", DATA, "--map", "image=x_test", *PREPARED)
SEEDS = (0, 1, 2)


def task(name: str) -> Measurer:
    """Measures files beside the shipped model `name`."""
    return Measurer(MODELS / f"{name}.onnx", TEST)


def twin(name: str, seed: int, half: dict[str, float]) -> dict[str, float]:
    """Figures of the half-width network trained from scratch: cost of the shipped one, accuracy of that seed's."""
    accuracies = json.loads((MODELS / "twins.json").read_text(encoding="utf-8"))[name]
    return {**half, "accuracy": accuracies[seed]}
