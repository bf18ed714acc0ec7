"""What the quantization benchmarks measure on: a float model, samples to calibrate on, others to measure on, a measure.

Models come from the catalogue (ONNXCOMPRESS_TEST_DATA) and from further folders (ONNXCOMPRESS_BENCH, separated like
PATH). In such a folder NAME.onnx has a NAME.json beside it:

- ``{"samples": "fmnist_resnet8"}``: the samples of a model of the catalogue, for another network of the same task;
- ``{"measure": "accuracy"}``: arrays by input in NAME.calib.npz and NAME.test.npz, the latter with ``labels``.

benchmarks/hard_models.py fills such a folder from installed packages.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import measures
import numpy as np
from catalog import Arrays, catalog
from measures import Measure


@dataclass(frozen=True)
class Case:
    """One model with what it is measured by.

    Attributes:
        name: Its name in the tables.
        path: The float model.
        calibration: Unlabelled samples, by input name.
        test: Samples that nothing is fitted to.
        labels: Their labels; None where the float model is the only judge.
        measure: How outputs become a score.
    """

    name: str
    path: Path
    calibration: Arrays
    test: Arrays
    labels: np.ndarray | None
    measure: Measure

    @property
    def count(self) -> int:
        """Test samples."""
        return len(next(iter(self.test.values())))


def names() -> list[str]:
    """All models that can be measured here, in order."""
    return sorted({*_catalog(), *(path.stem for path in _described())}, key=str.lower)


def case(name: str, *, calibration: int | None = None) -> Case:
    """The case of that name.

    Args:
        name: A model of the catalogue or of a folder of ONNXCOMPRESS_BENCH.
        calibration: Samples to calibrate on at most; all by default.

    Raises:
        KeyError: Where there is none.
    """
    found = next((path for path in _described() if path.stem == name), None)
    made = _from_folder(found) if found else _from_catalog(name)
    kept = {key: array[:calibration] for key, array in made.calibration.items()}
    return Case(made.name, made.path, kept, made.test, made.labels, made.measure)


def samples_of(name: str) -> str:
    """The model of the catalogue whose samples `name` reads; itself where it is none of another folder."""
    found = next((path for path in _described() if path.stem == name), None)
    return name if found is None else json.loads(found.read_text(encoding="utf-8")).get("samples", name)


def _catalog() -> list[str]:
    folder = os.environ.get("ONNXCOMPRESS_TEST_DATA")
    return list(catalog(Path(folder))) if folder else []


def _described() -> Iterator[Path]:
    for folder in filter(None, os.environ.get("ONNXCOMPRESS_BENCH", "").split(os.pathsep)):
        yield from (path for path in sorted(Path(folder).glob("*.json")) if path.with_suffix(".onnx").exists())


def _from_catalog(name: str) -> Case:
    entry = catalog(Path(os.environ["ONNXCOMPRESS_TEST_DATA"]))[name]
    samples = entry.samples()
    measure = measures.SQNR if samples.test_labels is None else measures.BY_MODEL.get(name, measures.ACCURACY)
    return Case(name, entry.path, samples.train, samples.test, samples.test_labels, measure)


def _from_folder(described: Path) -> Case:
    told = json.loads(described.read_text(encoding="utf-8"))
    path = described.with_suffix(".onnx")
    if "samples" in told:
        like = _from_catalog(told["samples"])
        return Case(path.stem, path, like.calibration, like.test, like.labels, like.measure)
    calibration, test = (_arrays(described.with_suffix(f".{part}.npz")) for part in ("calib", "test"))
    labels = test.pop("labels", None)
    return Case(path.stem, path, calibration, test, labels, measures.BY_NAME[told["measure"]])


def _arrays(path: Path) -> Arrays:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}
