"""What the samples' tables measure, all by the command line: a user can type each of these commands.

A figure is a plain number: accuracy and sparsity in percent, sizes in kB (1,000 bytes), times in milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = ("--threads", "1")
REFUSED = 5


def run(*words: str | Path) -> str:
    """stdout of one onnxcompress command, errors on the terminal.

    Raises:
        subprocess.CalledProcessError: Where it fails.
    """
    line = [sys.executable, "-m", "onnxcompress", *map(str, words)]
    return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout


def make(output: Path, command: str, *words: str | Path) -> Path:
    """Run a command that writes `output`, one thread, no progress bars; an older file is replaced."""
    output.parent.mkdir(parents=True, exist_ok=True)
    run(command, *words, *THREADS, "--quiet", "--force", "-o", output)
    return output


def report(output: Path, command: str, *words: str | Path) -> dict[str, Any]:
    """The JSON report of a command that writes `output`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    return json.loads(run(command, *words, *THREADS, "--quiet", "--force", "--json", "-o", output))


def refusal(output: Path, command: str, *words: str | Path) -> str:
    """What a gate says where it writes nothing (exit code 5); empty where the file was written.

    Raises:
        subprocess.CalledProcessError: Where it fails for another reason.
    """
    line = [sys.executable, "-m", "onnxcompress", command, *map(str, words), *THREADS, "--quiet", "--force"]
    done = subprocess.run([*line, "-o", str(output)], capture_output=True, text=True)
    if done.returncode not in (0, REFUSED):
        raise subprocess.CalledProcessError(done.returncode, line, done.stdout, done.stderr)
    return done.stderr.strip() if done.returncode else ""


def zipped(file: Path) -> int:
    """Bytes of the file after deflate, as a download or an archive stores it."""
    return len(zlib.compress(file.read_bytes(), 9))


@dataclass(frozen=True)
class Measurer:
    """Models of one task, each beside its float original.

    Attributes:
        original: The float model.
        test: Words of the command line that name the test samples and their preparation.
    """

    original: Path
    test: tuple[str | Path, ...]

    def figures(self, file: Path, *, timed: bool = True) -> dict[str, Any]:
        """Accuracy and its paired difference to the original, cost, size, latency at batch 1 and at a larger one.

        Latency is that of ONNX Runtime, both in turn; `spread` is the difference between two sessions of the original.
        """
        told = json.loads(
            run("compare", self.original, file, *self.test, *THREADS, *(("--latency",) if timed else ()), "--json")
        )
        quality, cost = told["quality"], told["after"]
        low, high = quality.get("interval") or (float("nan"),) * 2
        size, first = file.stat().st_size, self.original.stat().st_size
        return {
            "accuracy": 100 * quality["accuracy_after"],
            "drop": 100 * (quality["accuracy_before"] - quality["accuracy_after"]),
            "drop_interval": [-100 * high, -100 * low],
            "kB": size / 1e3,
            "zipped": zipped(file) / 1e3,
            "smaller": first / size,
            "params": cost["params"] / 1e3,
            "macs": cost["macs"] / 1e6,
            **(_times(told["latency"]["runs"]) if timed else {}),
        }


def _times(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Batch 1, and the largest batch: where the batch is fixed they are the same."""
    one, many = runs[0], runs[-1]
    return {
        "ms": one["models"]["after"]["ms"],
        "faster": one["models"]["before"]["ms"] / one["models"]["after"]["ms"],
        "batch": many["batch"],
        "batch_faster": many["models"]["after"]["ratio"],
        "spread": 100 * max(run["aa_spread"] for run in runs),
    }
