"""Accuracy and zipped bytes of three real models with weights set to zero, with and without data.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/weight_pruning.py [--out docs/results/weight_pruning.md] [NAME ...]

No training, no labels: with data, 256 unlabelled training samples choose the zeros and move the weights that stay.
Accuracy is that of all test samples; the error is the mean over the layers of |y - y*|^2 / |y*|^2 of a layer's output
on batches that took no part, by magnitude alone and as stored. The passes are normalize and prune-weights; zipped bytes
are those of all stored tensors, deflated.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog import Entry, Samples, catalog

import onnxcompress as oc
from onnxcompress.data import ArraySource
from onnxcompress.environment import environment
from onnxcompress.runtime_options import RuntimeOptions

OPTIONS = RuntimeOptions(threads=1)
MODELS = ("fmnist_vgg_bn", "fmnist_resnet8", "fmnist_vit")
METHODS: dict[str, dict[str, Any]] = {
    "threshold": {"weights": "threshold"},
    "global": {"weights": "global"},
    "histogram": {"weights": "histogram", "cut": "percentile"},
}
SPARSITIES = (0.5, 0.7, 0.9)
PATTERNS = ("2:4", "1:4")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=MODELS)
    parser.add_argument("--out", type=Path, help="page to write")
    given = parser.parse_args()
    folder = os.environ.get("ONNXCOMPRESS_TEST_DATA")
    if not folder:
        sys.exit("ONNXCOMPRESS_TEST_DATA names no folder of models")
    entries = catalog(Path(folder))
    pages = []
    for name in given.names:
        rows = list(_rows(entries[name]))
        pages.append(_section(name, rows))
        print(pages[-1], flush=True)
    if given.out:
        given.out.write_text(_page(pages), encoding="utf-8")


def _rows(entry: Entry) -> Iterator[Row]:
    samples = entry.samples()
    settings = [(f"{name} {s:g}", {**options, "sparsity": s}) for s in SPARSITIES for name, options in METHODS.items()]
    for label, options in [*settings, *((p, {"weights": p}) for p in PATTERNS)]:
        plain, updated = (_run(entry, samples, options, with_data=with_data) for with_data in (False, True))
        yield {"label": label, "plain": plain, "updated": updated}
        print(
            f"{entry.name} {label}: {plain['accuracy']:.3f} -> {updated['accuracy']:.3f}", file=sys.stderr, flush=True
        )


def _run(entry: Entry, samples: Samples, options: dict[str, Any], *, with_data: bool) -> Row:
    start = time.perf_counter()
    result = oc.PassManager([oc.Normalize(), oc.PruneWeights(**options)]).run(
        str(entry.path),
        data=ArraySource(samples.train) if with_data else None,
        eval_data=ArraySource(samples.test, samples.test_labels),
        runtime=OPTIONS,
    )
    total = next(f.numbers for f in result.report.findings if f.code == "PRUNE-SPARSITY-TOTAL")
    layers = [f.numbers for f in result.report.findings if "error" in f.numbers]
    quality = result.report.quality
    return {
        "seconds": time.perf_counter() - start,
        "before": quality["accuracy_before"],
        "accuracy": quality["accuracy_after"],
        "sparsity": total["sparsity"],
        "zipped_before": total["zipped_before"],
        "zipped": total["zipped"],
        "errors": [statistics.fmean(n[key] for n in layers) for key in ("error_by_magnitude", "error")]
        if layers
        else [],
    }


def _section(name: str, rows: list[Row]) -> str:
    first = rows[0]["plain"]
    lines = [
        f"## {name}",
        "",
        f"{first['before']:.1%} before; {first['zipped_before'] / 1000:,.0f} kB zipped.",
        "",
        "| method | zeros | magnitude alone | with data | layer error, magnitude -> with data | zipped | s |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(row) for row in rows)]) + "\n"


def _line(row: Row) -> str:
    plain, updated = row["plain"], row["updated"]
    error = " -> ".join(f"{e:.2g}" for e in updated["errors"])
    kilobytes = f"{updated['zipped'] / 1000:,.0f} kB ({updated['zipped_before'] / updated['zipped']:.1f}x smaller)"
    return (
        f"| {row['label']} | {updated['sparsity']:.1%} | {plain['accuracy']:.1%} | {updated['accuracy']:.1%} "
        f"| {error} | {kilobytes} | {updated['seconds']:.0f} |"
    )


def _page(sections: list[str]) -> str:
    where = environment(OPTIONS)
    versions = ", ".join(
        f"{key} {where[key]}" for key in ("onnxcompress", "onnx", "onnxruntime", "numpy") if key in where
    )
    head = f"# Weights set to zero\n\n{(__doc__ or '').strip()}\n\nOne thread; seconds are of one run"
    head += f", the load of the machine was {os.getloadavg()[2]:.0f} at the end. {versions}.\n"
    return "\n".join([head, *sections])


if __name__ == "__main__":
    main()
