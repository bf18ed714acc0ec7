"""What distillation wins back on networks of the kind that papers report on, from little data in little time.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/likes.py out/likes
    ONNXCOMPRESS_TEST_DATA=FOLDER ONNXCOMPRESS_BENCH=out/likes python benchmarks/distill_likes.py
        [--out docs/results/distillation_likes.md] [--seeds 3] [--work out/distill_likes] [NAME ...]

Networks, trained on Fashion-MNIST: ResNet-20, ResNet-56, MobileNetV2 (benchmarks/likes.py). Students are pruned with
reconstruction, or have weights of 4 and activations of 8 bits; the row says from how many unlabelled samples each was
made (1,500 at most) and trained, and how long. All else is at its default, one thread; a fifth of the samples is held
out to judge. Scores and intervals are those of benchmarks/distill.py, on 3,000 test pictures.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from distill import COLUMNS, Bench, Plan, cells, table


@dataclass(frozen=True)
class Like:
    """One student.

    Attributes:
        name: The network.
        student: How it was compressed.
        samples: Unlabelled samples.
        budget: Wall clock of the training.
    """

    name: str
    student: str
    samples: int
    budget: str


LIKES = (
    Like("resnet20", "0.5 x MACs", 5000, "3m"),
    Like("resnet20", "W4A8", 256, "1m"),
    Like("resnet20", "W4A8 fast", 256, "1m"),
    Like("resnet56", "0.5 x MACs", 5000, "5m"),
    Like("mobilenetv2", "0.7 x MACs", 300, "10m"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted({like.name for like in LIKES}))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("out/distill_likes"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    log = given.out.with_suffix(".json") if given.out else None
    benches = {like: Bench(given.work / str(like.samples), like.budget, log, like.samples) for like in LIKES}
    for seed in range(given.seeds):
        for like in LIKES:
            if like.name in given.names:
                benches[like].run(Plan(like.name, like.student, "distilled", seed))
    if given.out:
        head = f"# Distillation: networks of the published kind\n\n{(__doc__ or '').strip()}\n"
        known = [(like, cells(benches[like], like.name, like.student)) for like in LIKES]
        found = [[*row[:2], f"{like.samples:,}", like.budget, *row[2 : len(COLUMNS)]] for like, row in known if row]
        page = table((*COLUMNS[:2], "samples", "budget", *COLUMNS[2:]), found)
        given.out.write_text(f"{head}\n{page}", encoding="utf-8")


if __name__ == "__main__":
    main()
