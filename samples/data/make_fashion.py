"""Write fashion.npz: 4,000 + 1,500 pictures of Fashion-MNIST, padded to 32 x 32; same bytes on every run.

    python samples/data/make_fashion.py FILE

FILE is an npz with x_train, y_train, x_test, y_test: N x 28 x 28 pictures as uint8, and their classes. It is not needed
to run a sample: fashion.npz lies in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from make_data import HERE, write

COUNTS = {"train": 4_000, "test": 1_500}


def fashion(source: Path) -> dict[str, np.ndarray]:
    """A seeded choice, N x 32 x 32 uint8."""
    generator = np.random.Generator(np.random.PCG64(0))
    arrays: dict[str, np.ndarray] = {}
    with np.load(source) as known:
        for part, count in COUNTS.items():
            rows = np.sort(generator.permutation(len(known[f"x_{part}"]))[:count])
            arrays[f"x_{part}"] = np.pad(known[f"x_{part}"][rows], ((0, 0), (2, 2), (2, 2)))
            arrays[f"y_{part}"] = known[f"y_{part}"][rows]
    return arrays


if __name__ == "__main__":
    write(HERE / "fashion.npz", fashion(Path(sys.argv[1])))
