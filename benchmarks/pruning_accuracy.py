"""Accuracy against MACs kept, 256 unlabelled samples and no training, next to plain L1 without repair.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/pruning_accuracy.py [--out docs/results/pruning_accuracy.md]
        [--kept 0.8 0.7 0.5 0.3] [--samples 256] [--set OPTION=VALUE] [NAME | MODEL.onnx=NAME ...]

NAME is a model of the catalogue; MODEL.onnx=NAME is any file that takes the samples of NAME. Calibration samples come
from the training part, accuracy from the test part. Where there are no labels the figure is the agreement with the
model before pruning. Rows already in the page's .json are kept or replaced, model by model.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from catalog import Arrays, Entry, Samples, catalog

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.cost import costs
from onnxcompress.data import ArraySource
from onnxcompress.environment import environment
from onnxcompress.errors import CompressError
from onnxcompress.runtime import run_source
from onnxcompress.runtime_options import RuntimeOptions

Row = dict[str, Any]
OPTIONS = RuntimeOptions(threads=1)
MODELS = (
    "fmnist_vgg_bn",
    "fmnist_resnet8",
    "bccd_dwcnn",
    "ecg_resnet1d_ds1",
    "fmnist_vit",
    "fsdd_gru",
    "mobilenet_v1_0.25_128",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kept", type=float, nargs="+", default=[0.8, 0.7, 0.5, 0.3])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], help="options of prune, OPTION=VALUE")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain L1 out")
    given = parser.parse_args()
    folder = os.environ.get("ONNXCOMPRESS_TEST_DATA")
    if not folder:
        sys.exit("ONNXCOMPRESS_TEST_DATA names no folder of models")
    store = given.out.with_suffix(".json") if given.out else None
    rows: dict[str, Row] = json.loads(store.read_text(encoding="utf-8")) if store and store.exists() else {}
    for entry in _entries(given.models, catalog(Path(folder))):
        row = _row(entry, given)
        rows[entry.name] = row
        if store is not None:
            store.parent.mkdir(parents=True, exist_ok=True)
            store.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    ordered = [rows[key] for key in sorted(rows, key=str.lower)]
    print(_table(ordered))
    if given.out:
        given.out.write_text(_page(ordered), encoding="utf-8")


def _entries(names: list[str], known: dict[str, Entry]) -> Iterator[Entry]:
    for name in names:
        path, _, like = name.rpartition("=")
        yield replace(known[like], name=Path(path).stem, path=Path(path)) if path else known[name]


def _row(entry: Entry, given: argparse.Namespace) -> Row:
    samples = entry.samples()
    data = _drawn(samples.train, given.samples, given.seed)
    original = model_io.load(str(entry.path))
    row: Row = {"model": entry.name, "samples": len(next(iter(data.values()))), "macs": costs(original).macs}
    teacher = _predicted(original, samples.test)
    truth = samples.test_labels if samples.test_labels is not None else teacher
    row |= {"labels": samples.test_labels is not None, "test": len(truth), "whole": _score(entry, teacher, truth)}
    row["points"] = []
    options = dict(text.partition("=")[::2] for text in given.set)
    for kept in given.kept:
        point = {"kept": kept, **_point(entry, samples, truth, kept, data, options, given.seed)}
        if not given.no_plain:
            plain = _plain(entry, kept)
            point["plain"] = _score(entry, _predicted(plain, samples.test), truth)
        row["points"].append(point)
        print(entry.name, f"{100 * row['whole']:.2f}", point, file=sys.stderr, flush=True)
    return row


def _drawn(arrays: Arrays, count: int, seed: int) -> Arrays:
    total = len(next(iter(arrays.values())))
    order = np.random.default_rng(seed).permutation(total)[:count]
    return {name: array[order] for name, array in arrays.items()}


def _point(
    entry: Entry, samples: Samples, truth: Any, kept: float, data: Arrays, options: dict[str, str], seed: int
) -> Row:
    start = time.perf_counter()
    try:
        result = oc.prune(
            str(entry.path),
            target_macs=f"{kept}x",
            data=ArraySource(data),
            runtime=OPTIONS,
            seed=seed,
            allow_unchanged=True,
            **options,
        )
    except CompressError as error:
        return {"refused": f"{error.code}: {error}"}
    seconds = time.perf_counter() - start
    report = result.report
    return {
        "score": _score(entry, _predicted(result.model, samples.test), truth),
        "macs": report.after["macs"] / report.before["macs"],
        "params": report.after["params"] / report.before["params"],
        "seconds": round(seconds, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _plain(entry: Entry, kept: float) -> Any:
    passes = [oc.Normalize(), oc.PruneChannels(target_macs=f"{kept}x", score="l1", allocation="uniform")]
    return oc.PassManager(passes, allow_unchanged=True).run(str(entry.path), runtime=OPTIONS).model


def _predicted(model: Any, arrays: Arrays) -> Any:
    """All outputs for all samples."""
    runs = list(run_source(model, ArraySource(arrays), options=OPTIONS, batch=32))
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def _score(entry: Entry, outputs: Arrays, truth: Any) -> float:
    if entry.metric is not None and not isinstance(truth, dict):
        return float(entry.metric(outputs, truth))
    first = next(iter(outputs.values()))
    wanted = next(iter(truth.values())).argmax(-1) if isinstance(truth, dict) else truth
    return float((first.argmax(-1) == wanted).mean())


def _table(rows: list[Row]) -> str:
    kept = sorted({point["kept"] for row in rows for point in row["points"]}, reverse=True)
    lines = [
        "| model | whole | " + " | ".join(f"{k:g}x (plain L1)" for k in kept) + " |",
        "|" + "---|" * (len(kept) + 2),
    ]
    for row in rows:
        by_kept = {point["kept"]: point for point in row["points"]}
        cells = [_cell(by_kept.get(k)) for k in kept]
        mark = "" if row["labels"] else " (agreement)"
        lines.append(f"| {row['model']}{mark} | {100 * row['whole']:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(point: Row | None) -> str:
    if point is None:
        return ""
    if "refused" in point:
        return "refused"
    plain = f" ({100 * point['plain']:.2f})" if "plain" in point else ""
    return f"{100 * point['score']:.2f}{plain}"


def _page(rows: list[Row]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in environment(OPTIONS).items())
    return f"""# Accuracy against MACs kept, without labels and without training

Written by `python benchmarks/pruning_accuracy.py --out docs/results/pruning_accuracy.md`; one thread, seed 0;
{versions}.

Each column is `prune --target-macs Kx --data DATA` with the number of unlabelled samples in the .json (256 where
nothing else is said), in percent of the test samples; in brackets plain L1 norms, one rate for all layers, nothing
repaired. Calibration samples are training samples, never test samples. "agreement" counts the test samples on which
the pruned model says what the whole one says. An empty cell was not run.

{_table(rows)}
"""


if __name__ == "__main__":
    main()
