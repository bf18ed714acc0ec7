"""Score of one file on the whole test set of the model that it was made from, beside the float model's.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/scores.py FILE.onnx [FILE.onnx ...] --as NAME [--test 500]

Prints one line a file: score, the float model's score, the paired difference with its 95 % interval, the number of
samples, and how much smaller the file is. NAME is a model of the catalogue or of ONNXCOMPRESS_BENCH (see cases.py);
`--list` names them. One thread. As functions: `cases.case(NAME)` and `score(file, case)`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from cases import Case, case, names

from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.runtime import feeds_of
from onnxcompress.verify import intervals

BATCH = 32


@dataclass(frozen=True)
class Score:
    """What a file is worth.

    Attributes:
        measure: What the figures are.
        value: The file's.
        reference: The float model's; None for SQNR.
        difference: Value minus reference.
        interval: 95 % interval of that difference, both on the same samples.
        count: Test samples.
        smaller: Bytes of the float file over those of this one.
    """

    measure: str
    value: float
    reference: float | None
    difference: float | None
    interval: tuple[float, float] | None
    count: int
    smaller: float

    def line(self) -> str:
        """One line for people."""
        size = f"{self.smaller:.2f} x smaller"
        if self.reference is None or self.difference is None:
            return f"{self.measure} {self.value:.2f} (n {self.count}), {size}"
        low, high = (100 * v for v in self.interval or (float("nan"),) * 2)
        told = f"{self.measure} {100 * self.value:.2f} (float {100 * self.reference:.2f}), difference"
        return f"{told} {100 * self.difference:+.2f} [{low:+.2f}, {high:+.2f}] points (n {self.count}), {size}"


def score(file: Path, of: Case, reference: np.ndarray | None = None) -> Score:
    """The score of `file` as a replacement of the float model of `of`.

    Args:
        file: A model with the same inputs and outputs.
        of: What it is measured on.
        reference: The float model's rows (`rows`), where the caller has them already.
    """
    wanted = rows(of.path, of) if reference is None else reference
    got = rows(file, of)
    return compared(of, wanted, got, of.path.stat().st_size / file.stat().st_size)


def rows(file: Path, of: Case) -> np.ndarray:
    """What the measure keeps of the outputs of `file` for all test samples."""
    session = _session(file)
    known = [output.name for output in session.get_outputs()]
    parts: list[np.ndarray] = []
    for feeds in feeds_of(model_io.load(str(of.path)), ArraySource(of.test), batch=BATCH):
        outputs = dict(zip(known, session.run(None, feeds.arrays), strict=True))
        parts.append(of.measure.reduce(feeds.trim(outputs)))
    return np.concatenate(parts)


def compared(of: Case, wanted: np.ndarray, got: np.ndarray, smaller: float) -> Score:
    """Both models' rows as a score."""
    measure = of.measure
    if measure.hits is None and measure.score is None:
        return Score(measure.name, sqnr(wanted, got), None, None, None, of.count, smaller)
    assert of.labels is not None
    if measure.hits is not None:
        before, after = (measure.hits(found, of.labels) for found in (wanted, got))
        lost, won = int((before & ~after).sum()), int((after & ~before).sum())
        interval = intervals.paired_difference(lost, won, of.count)
        values = float(after.mean()), float(before.mean())
    else:
        values = tuple(measure.score(found, of.labels) for found in (got, wanted))
        interval = intervals.jackknife(lambda at: _difference(of, wanted, got, at), of.count, values[0] - values[1])
    return Score(measure.name, *values, values[0] - values[1], interval, of.count, smaller)


def _difference(of: Case, wanted: np.ndarray, got: np.ndarray, at: np.ndarray) -> float:
    assert of.measure.score is not None
    assert of.labels is not None
    return of.measure.score(got[at], of.labels[at]) - of.measure.score(wanted[at], of.labels[at])


def sqnr(wanted: np.ndarray, got: np.ndarray) -> float:
    """Signal to noise of all outputs in decibels, ``10 log10(sum x^2 / sum (x - y)^2)``; 150 for equal ones."""
    signal, noise = (float(np.square(a, dtype=np.float64).sum()) for a in (wanted, wanted - got))
    return min(150.0, 10 * float(np.log10(max(signal, 1e-30) / max(noise, 1e-45))))


def _session(file: Path) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    return ort.InferenceSession(file, settings, providers=["CPUExecutionProvider"])


def cut(of: Case, test: int | None) -> Case:
    """The case with every k-th test sample only, so that about `test` are left."""
    step = max(1, of.count // test) if test else 1
    arrays: Mapping[str, np.ndarray] = {key: array[::step] for key, array in of.test.items()}
    labels = None if of.labels is None else of.labels[::step]
    return Case(of.name, of.path, of.calibration, dict(arrays), labels, of.measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--as", dest="name", help="the model that the files were made from")
    parser.add_argument("--test", type=int, help="about so many test samples; all by default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="name the models that can be measured here")
    given = parser.parse_args()
    if given.list or not given.name:
        print("\n".join(names()))
        sys.exit(0 if given.list else "name one of these with --as")
    of = cut(case(given.name), given.test)
    reference = rows(of.path, of)
    for file in given.files or [of.path]:
        found = score(file, of, reference)
        print(json.dumps({"file": str(file), **asdict(found)}) if given.json else f"{file.name}: {found.line()}")


if __name__ == "__main__":
    main()
