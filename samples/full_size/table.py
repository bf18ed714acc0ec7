"""Every command on networks of full width at 224 x 224: seconds, peak memory, and how much faster the results are.

make full-size        (or: python -m samples.full_size.table [--quick | --again | --keep])
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from onnxcompress.environment import integer_extensions
from samples.pictures import MODELS, OUT
from samples.sheet import Column, Sheet

HERE = Path(__file__).parent
WORK = OUT / "full_size"
NAMES = ("mobilenet_v2", "alexnet", "resnet50", "vgg16")
DATA = ("--data", f"{HERE / 'pictures.py'}:train", "--preset", "imagenet")
THREADS = ("--threads", "2")
RANDOM = ("--random", "--no-norm", "--width", "1", "--size", "224", "--channels", "3", "--classes", "1000")
NOTE = """
MobileNet V2, AlexNet, ResNet50 and VGG16 as published, 224 x 224, 1,000 classes, with random weights (He et al. 2015):
this is about time and memory, and says nothing of accuracy. Data: 40 pictures. Each command ran in a process of its own
with default settings, ONNX Runtime on two threads and numpy on one. What each row ran is in samples/full_size/table.py.

    make full-size

"CPU s" is the time that the processors spent on the command, "seconds" what a clock on the wall says: more where other
programs run beside it. "peak MB" is the largest resident set that the system counted for the process, all included.
"ms" is one picture in ONNX Runtime, "faster" the float model's time over it, measured in turns.
"""
COLUMNS = (
    Column("cpu", "CPU s", ".0f"),
    Column("wall", "seconds", ".0f"),
    Column("peak", "peak MB", ".0f", tolerance=0.3, relative=True),
    Column("MB", "MB", ".1f", tolerance=0.02, relative=True),
    Column("macs", "M MACs", ".0f", tolerance=0.05, relative=True),
    Column("ms", "ms", ".1f"),
    Column("faster", "faster", ".2f"),
)


def steps(name: str) -> dict[str, tuple[str | Path, ...]]:
    """Commands on one network, in order; each writes the file that its row is named for."""
    float_, cut = WORK / f"{name}.onnx", file_of(name, "prune")
    found: dict[str, tuple[str | Path, ...]] = {
        "inspect": ("inspect", float_),
        "lint": ("lint", float_, "--target", "tensorrt"),
        "prune": ("prune", float_, "--target-macs", "0.5x", *DATA),
        "prune, quantize": ("quantize", cut, *DATA),
        "quantize": ("quantize", float_, *DATA),
        "prune, quantize for TensorRT": ("quantize", cut, "--target", "tensorrt", *DATA),
        "prune --weights": ("prune", float_, "--weights", "global", "--sparsity", "0.5"),
    }
    if name in ("mobilenet_v2", "resnet50"):
        found["prune, distill: 5 steps"] = (
            *("distill", cut, "--teacher", float_, "--steps", "5", "--batch-size", "8", *DATA),
            *("--accept-worse",),
        )
    return found


def file_of(name: str, step: str) -> Path:
    """Where a step's result lies."""
    return WORK / f"{name}.{'_'.join(''.join(c if c.isalnum() else ' ' for c in step).split())}.onnx"


def measured(name: str, step: str, words: tuple[str | Path, ...]) -> dict[str, Any]:
    """Seconds and peak memory of one command; of its file size, cost and speed."""
    if words[0] in ("inspect", "lint"):
        return timed(*words)
    file = file_of(name, step)
    figures = timed(*words, *THREADS, "-o", file, "--force", "--quiet", "--allow-unchanged")
    return figures | compared(WORK / f"{name}.onnx", file)


def timed(*words: str | Path) -> dict[str, Any]:
    """Clock, processor seconds and peak resident MB of one command in a child process.

    Raises:
        SystemExit: Where it fails, but for `lint`, whose exit code is its finding.
    """
    line = [sys.executable, "-m", "onnxcompress", *map(str, words)]
    begin = time.perf_counter()
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode and words[0] != "lint":
        raise SystemExit(f"exit code {child.returncode}: {' '.join(line)}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "peak": usage.ru_maxrss / 1024}


def compared(float_: Path, file: Path) -> dict[str, Any]:
    """Size, multiply-adds, and time beside the float model."""
    line = [sys.executable, "-m", "onnxcompress", "compare", str(float_), str(file), *DATA, "--samples", "2"]
    line += ["--latency", *THREADS, "--json"]
    told = json.loads(subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout)
    run = told["latency"]["runs"][0]["models"]
    return {
        "MB": file.stat().st_size / 1e6,
        "macs": told["after"]["macs"] / 1e6,
        "ms": run["after"]["ms"],
        "faster": run["after"]["ratio"],
    }


def make(name: str) -> Path:
    """The float model; made once."""
    file = WORK / f"{name}.onnx"
    if not file.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, str(MODELS / "make.py"), name, *RANDOM, "--out", str(file)]
        subprocess.run(line, check=True, stderr=subprocess.DEVNULL)
    return file


def main() -> None:
    title = "Full size: what the commands take, and what they give"
    sheet = Sheet("full_size", title, COLUMNS, f"{NOTE}\n{_processor()}", threads=2)
    for name in NAMES[:1] if sheet.quick else NAMES:
        sheet.row(name, lambda _, n=name: compared(make(n), make(n)), quick=True)
        for step, words in steps(name).items():
            sheet.row(
                f"{name}: {step}", lambda _, a=(name, step, words): measured(*a), quick=step in ("inspect", "prune")
            )
    sheet.write()


def _processor() -> str:
    found = integer_extensions()
    return f"Integer instructions of the processor: {', '.join(found) if found else 'not known'}."


if __name__ == "__main__":
    main()
