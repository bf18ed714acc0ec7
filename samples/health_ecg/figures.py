"""The figures of a health model: its row of the table, by `onnxcompress compare` alone; health_risk takes them too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samples.measure import THREADS, Measurer, refusal, run
from samples.sheet import BATCH_FASTER, KB, MS, SMALLER, Column

SENSITIVITY = Column("sensitivity", "sensitivity %", ".2f", tolerance=2.0)
SPECIFICITY = Column("specificity", "specificity %", ".2f", tolerance=1.0)
ACCURACY = Column("accuracy", "accuracy %", ".2f", tolerance=1.0)
ECE = Column("ece", "ECE %", ".2f", tolerance=1.0)
WRITTEN = Column("written", "files", ".2f")
MEMORY = Column("MB", "MB at run", ".1f")
COST = (Column("kB", "kB", ".1f", tolerance=KB.tolerance, relative=True), SMALLER, MEMORY, MS, BATCH_FASTER)
EMPTY = ("sensitivity", "specificity", "accuracy", "ece", *(column.key for column in COST))


@dataclass(frozen=True)
class Judge:
    """Measures models beside their float original.

    Attributes:
        measurer: Accuracy, size and latency.
        metrics: Metric by the name of its figure: ``file.py:function``.
        more: Test samples besides, by the name of the figure: their words of the command line, and a metric.
    """

    measurer: Measurer
    metrics: dict[str, str]
    more: dict[str, tuple[tuple[str | Path, ...], str]]

    def figures(self, file: Path) -> dict[str, Any]:
        """One row."""
        words = self.measurer.test
        asked = {name: (words, metric) for name, metric in self.metrics.items()} | self.more
        scores = {name: 100 * self._score(file, *one) for name, one in asked.items()}
        return {**self.measurer.figures(file), **scores, "ece": -scores["ece"], "MB": peak(file), "written": 1}

    def _score(self, file: Path, words: Sequence[str | Path], metric: str) -> float:
        told = run("compare", self.measurer.original, file, *words, "--metric", metric, *THREADS, "--json")
        return json.loads(told)["quality"]["metric_after"]

    def gated(self, output: Path, command: str, *words: str | Path) -> dict[str, Any]:
        """The row of a command with a gate: its file, or the empty row and what was said where it wrote none."""
        output.parent.mkdir(parents=True, exist_ok=True)
        said = refusal(output, command, *words)
        if not said:
            return self.figures(output)
        return {**dict.fromkeys([*EMPTY, *self.more]), "written": 0, "said": said.splitlines()[-1]}


def peak(file: Path) -> float:
    """MB (10^6 bytes) that a Python process needs at most that answers one sample, ONNX Runtime and itself included."""
    script = Path(__file__).parent / "answer.py"
    return float(subprocess.run([sys.executable, script, file], stdout=subprocess.PIPE, text=True, check=True).stdout)
