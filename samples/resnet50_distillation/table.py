"""Distillation of a pruned ResNet50: soft targets, and what each further term of the text's loss brings.

python -m samples.resnet50_distillation.table [--quick | --again | --keep]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samples.measure import make, report
from samples.pictures import CALIBRATION, DATA, MODELS, OUT, SEEDS, TRAIN, task, twin
from samples.sheet import ACCURACY, KB, SMALLER, Column, Sheet, panels

FLOAT = MODELS / "resnet50.onnx"
HALF = MODELS / "resnet50_half.onnx"
WORK = OUT / "resnet50_distillation"
RESNET = task("resnet50")
SHARE = "0.3x"
STEPS = ("--steps", "200")
LABELS = ("--labels", "y_train")
WAYS: dict[str, tuple[str, ...]] = {
    "soft targets": ("--loss", "kl"),
    "soft targets + all feature maps": ("--loss", "hints:0.8,kl:0.2"),
    "soft targets + attention": ("--loss", "at:0.5,kl:0.5"),
    "soft targets through W_T": ("--loss", "wt"),
    "soft targets, teacher learns at 2x": ("--loss", "kl", "--teacher-lr-mult", "2"),
    "soft targets + last-layer norm": ("--loss", "kl", "--head-norm", "0.01"),
    "soft targets + entropy": ("--loss", "kl", "--beta", "0.1"),
    "labels + all feature maps": ("--loss", "hints:0.5,ce:0.5", "--accept-worse"),
    "labels alone": ("--loss", "ce", "--accept-worse"),
    "feature maps + attention, 400 steps": ("--loss", "hints:0.5,at:0.2,kl:0.3", "--steps", "400"),
}
NEEDS_LABELS = ("labels + all feature maps", "labels alone")
BEST = "feature maps + attention, 400 steps"
NOTE = """
Bottlenecks in stages of 3, 4, 6 and 3, an eighth as wide as published, on 32 x 32 pictures of clothes (Fashion-MNIST,
1,500 test pictures). The teacher is the network as `python samples/models/make.py resnet50` made it, the student the
same one cut to 0.3 of its multiply-adds with its weights refitted ("student, not trained"). Each row trains it
for 200 steps of 64 pictures (or as it says), out of 4,000, with all options but those of the row at their defaults; a
training that ends early did so because no better weights came ("steps"). A student that did not come closer to its
teacher is left as it was; those trained on labels are taken as they are (`--accept-worse`), for labels lead elsewhere.

    python -m samples.resnet50_distillation.table

"gain" is in points over the student that was not trained, "over soft targets" over the first row of training, seed by
seed.
"""
GAIN = Column("gain", "gain", "+.2f")
OVER = Column("over", "over soft targets", "+.2f")
TOOK = Column("steps", "steps", ".0f")
LEAST = 75


def student() -> Path:
    """The teacher, cut and refitted."""
    return make(WORK / "student.onnx", "prune", FLOAT, "--target-macs", SHARE, *CALIBRATION)


def train(way: str, seed: int, steps: tuple[str, ...] = STEPS) -> tuple[Path, dict[str, Any]]:
    """One distillation, and its report."""
    labels = LABELS if way in NEEDS_LABELS else ()
    file = WORK / f"{way.replace(' ', '_')}.{seed}.onnx"
    words = (WORK / "student.onnx", "--teacher", FLOAT, *TRAIN, *labels, *steps, *WAYS[way], "--seed", str(seed))
    return file, report(file, "distill", *words, "--allow-unchanged")


def trained(way: str, seed: int) -> dict[str, Any]:
    """Accuracy of one distillation, and the steps that it took."""
    file, told = train(way, seed)
    return {**RESNET.figures(file, timed=False), "steps": _steps(told)}


def _steps(told: dict[str, Any]) -> int | None:
    """Steps of the training, as the report's findings give them."""
    numbers = [f["numbers"] for p in told["passes"] for f in p["findings"] if f["code"].startswith("DISTILL-")]
    return next((n["steps"] for n in numbers if "steps" in n), None)


def against(rows: dict[str, list[Any]], start: float) -> None:
    """Gains of every training over its start, and over soft targets alone, seed by seed."""
    first = rows["soft targets"]
    for runs in rows.values():
        for run, other in zip(runs, first, strict=True):
            run.update(gain=run["accuracy"] - start, over=run["accuracy"] - other["accuracy"])


def whole(seed: int) -> dict[str, Any]:
    """Pruned, distilled, quantized."""
    file = WORK / f"{BEST.replace(' ', '_')}.{seed}.onnx"
    return RESNET.figures(make(WORK / f"whole.{seed}.onnx", "quantize", file, *CALIBRATION), timed=False)


def plain() -> dict[str, Any]:
    """L1 norms and min-max ranges, nothing repaired."""
    cut = make(WORK / "plain.pruned.onnx", "prune", FLOAT, "--target-macs", SHARE, "--score", "l1")
    words = ("--calibrator", "uniform", "--effort", "fast", *CALIBRATION)
    return RESNET.figures(make(WORK / "plain.onnx", "quantize", cut, *words), timed=False)


def main() -> None:
    columns = (ACCURACY, GAIN, OVER, TOOK, KB, SMALLER)
    title = "ResNet50: what each term of the loss brings"
    sheet = Sheet("resnet50_distillation", title, columns, NOTE, (FLOAT, HALF, DATA))
    sheet.row("teacher", lambda _: RESNET.figures(FLOAT, timed=False), quick=True)
    start = sheet.row("student, not trained", lambda _: RESNET.figures(student(), timed=False), quick=True)
    rows = {way: sheet.row(way, lambda seed, w=way: trained(w, seed), seeds=SEEDS) for way in WAYS}
    if not sheet.quick:
        against(rows, start[0]["accuracy"])
    sheet.row("the same, then int8", whole, seeds=SEEDS)
    sheet.row("plain L1 + min-max, no repair", lambda _: plain())
    half = RESNET.figures(HALF, timed=False) if not sheet.quick else {}
    sheet.row("half-width twin from scratch", lambda seed: twin("resnet50", seed, half), seeds=SEEDS)
    sheet.write(plot=panels(("accuracy", "accuracy on 1,500 test pictures, %"), ("kB", "kB"), least=LEAST))


if __name__ == "__main__":
    main()
