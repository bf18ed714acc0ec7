"""How long a user waits before anything happens: the import, each command's help, the error for a missing file.

    python benchmarks/startup.py [--rounds 5]

Medians of fresh processes, in milliseconds; the empty Python beside them is the floor of this machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from onnxcompress.cli.app import COMMANDS

EMPTY = "an empty Python"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"load at start: {os.getloadavg()[0]:.2f}; median of {rounds}\n\n| what | ms | processor ms |\n|---|---|---|")
    for what, words, code in cases():
        wall, processor = measured(words, code, rounds)
        print(f"| {what} | {wall:.0f} | {processor:.0f} |", flush=True)


def cases() -> list[tuple[str, list[str], int]]:
    """What is measured: a label, the arguments of Python, and the exit code that shows that it was done."""
    command = ["-m", "onnxcompress"]
    helps = [(f"{name} --help", [*command, name, "--help"], 0) for name in COMMANDS]
    missing = [(f"{name}: no such file", [*command, name, "none.onnx"], 3) for name in ("prune", "quantize", "inspect")]
    first = [(EMPTY, ["-c", ""], 0), ("import onnxcompress", ["-c", "import onnxcompress"], 0)]
    return [*first, ("--help", [*command, "--help"], 0), *helps, *missing]


def measured(words: list[str], code: int, rounds: int) -> tuple[float, float]:
    """Medians of wall and processor time in milliseconds; one run before them warms the disk cache."""
    times = [once(words, code) for _ in range(rounds + 1)][1:]
    return statistics.median(wall for wall, _ in times), statistics.median(processor for _, processor in times)


def once(words: list[str], code: int) -> tuple[float, float]:
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode != code:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}, not {code}: {done.stderr}")
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return wall * 1e3, processor * 1e3


if __name__ == "__main__":
    main()
