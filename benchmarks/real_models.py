"""Prune, quantize and distil every real model of the catalogue, and the whole as one recipe; write the table.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/real_models.py [--out docs/results/real_models.md] [NAME ...]

A run counts only where it did its work: prune removed at least 25 % of the MACs, quantize put Q/DQ on at least 80 % of
the MACs of Conv, Gemm and MatMul by a constant, distill raised the held-out agreement with the teacher.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from catalog import Entry, Samples, catalog

import onnxcompress as oc
from onnxcompress import api, model_io
from onnxcompress.cost import costs
from onnxcompress.data import ArraySource
from onnxcompress.environment import environment
from onnxcompress.errors import CompressError
from onnxcompress.passes.quantization.coverage import quantized_share
from onnxcompress.recipe import Recipe
from onnxcompress.runtime import feeds_of, latency
from onnxcompress.runtime_options import RuntimeOptions

Row = dict[str, Any]
OPTIONS = RuntimeOptions(threads=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, help="page to write; rows already in its .json are kept or replaced")
    parser.add_argument("--steps", default="prune,quantize,distill,auto")
    given = parser.parse_args()
    folder = os.environ.get("ONNXCOMPRESS_TEST_DATA")
    if not folder:
        sys.exit("ONNXCOMPRESS_TEST_DATA names no folder of models")
    store = given.out.with_suffix(".json") if given.out else None
    rows: dict[str, Row] = json.loads(store.read_text(encoding="utf-8")) if store and store.exists() else {}
    for name, entry in catalog(Path(folder)).items():
        if given.names and name not in given.names:
            continue
        for row in _model(entry, given.steps.split(",")):
            rows[f"{row['model']}/{row['step']}"] = row
            if store is not None:
                store.parent.mkdir(parents=True, exist_ok=True)
                store.write_text(json.dumps(rows, indent=1, sort_keys=True), encoding="utf-8")
    ordered = [rows[key] for key in sorted(rows, key=str.lower)]
    print(_table(ordered))
    if given.out:
        given.out.write_text(_page(ordered), encoding="utf-8")


def _model(entry: Entry, steps: list[str]) -> Iterator[Row]:
    samples = entry.samples()
    runs: dict[str, Callable[[], oc.Result]] = {
        "prune": lambda: oc.prune(str(entry.path), ratio=0.5, **_common(entry, samples)),
        "quantize": lambda: oc.quantize(str(entry.path), **_common(entry, samples)),
        "quantize-trt": lambda: oc.quantize(str(entry.path), target="tensorrt", **_common(entry, samples)),
        "distill": lambda: _distill(entry, samples),
        "auto": lambda: _auto(entry, samples),
    }
    chosen = [k for k in runs if k.split("-")[0] in steps]
    for step in chosen:
        yield _row(entry, step, runs[step], samples)


def _common(entry: Entry, samples: Samples) -> dict[str, Any]:
    return {
        "data": ArraySource(samples.train, samples.train_labels),
        "eval_data": ArraySource(samples.test, samples.test_labels),
        "metric": entry.metric if samples.test_labels is not None else None,
        "runtime": OPTIONS,
        "allow_unchanged": True,
    }


def _distill(entry: Entry, samples: Samples) -> oc.Result:
    """Distil a student that lost 30 % of its channels and was not repaired."""
    passes = [oc.Normalize(), oc.PruneChannels(ratio=0.3)]
    student = oc.PassManager(passes, allow_unchanged=True).run(str(entry.path), runtime=OPTIONS).model
    return oc.distill(
        student, teacher=str(entry.path), steps=_training_steps(entry, samples), **_common(entry, samples)
    )


def _auto(entry: Entry, samples: Samples) -> oc.Result:
    """`run auto`; on the larger models as on a machine without torch, that is without its distill step."""
    recipe = api.recipe_for("auto", has_data=True)
    if _is_large(entry, samples):
        recipe = Recipe(tuple(p for p in recipe.passes if p.name != "distill"), recipe.settings)
    common = _common(entry, samples)
    return api.run_recipe(recipe, str(entry.path), data=common.pop("data"), **common)


def _is_large(entry: Entry, samples: Samples) -> bool:
    """Whether a training step costs seconds on one core: by MACs, or by the size of a sample where that is free."""
    biggest = max(array[0].size for array in samples.test.values())
    return biggest > 50_000 or costs(model_io.load(str(entry.path))).macs >= 25e6


def _training_steps(entry: Entry, samples: Samples) -> int:
    """300, the default; 50 where a step costs seconds on one core."""
    return 20 if _is_large(entry, samples) else 300


def _row(entry: Entry, step: str, run: Callable[[], oc.Result], samples: Samples) -> Row:
    start = time.perf_counter()
    row: Row = {"model": entry.name, "step": step}
    try:
        result = run()
    except CompressError as error:
        row |= {"refused": f"{error.code}: {error}"}
        print(f"{entry.name:32} {step:13} REFUSED {error}", file=sys.stderr)
        return row
    row |= {"seconds": round(time.perf_counter() - start, 1), **_figures(result)}
    row |= _latency(entry, result, samples)
    row["coverage"] = quantized_share(result.model) if "quantize" in step or step == "auto" else None
    row["codes"] = _codes(result)
    print(f"{entry.name:32} {step:13} {_line(row)}", file=sys.stderr)
    return row


def _figures(result: oc.Result) -> Row:
    report = result.report
    costs = {
        f"{k}_{when}": getattr(report, when)[k] for k in ("params", "macs", "bytes") for when in ("before", "after")
    }
    return {**costs, "quality": report.quality}


def _latency(entry: Entry, result: oc.Result, samples: Samples) -> Row:
    original = model_io.load(str(entry.path))
    source = ArraySource({k: v[:16] for k, v in samples.test.items()})
    feeds = next(feeds_of(original, source)).arrays
    timing = latency({"before": original, "after": result.model}, feeds, options=OPTIONS)
    return {"ms_before": timing.ms["before"], "ms_after": timing.ms["after"], "spread": timing.spread}


def _codes(result: oc.Result) -> dict[str, int]:
    codes = [f.code for f in result.report.findings]
    return {code: codes.count(code) for code in sorted(set(codes))}


def _line(row: Row) -> str:
    quality = row["quality"]
    keep = {k: round(v, 4) for k, v in quality.items() if isinstance(v, float)}
    macs = row["macs_after"] / max(row["macs_before"], 1)
    size = row["bytes_before"] / max(row["bytes_after"], 1)
    speed = row["ms_before"] / row["ms_after"]
    return f"macs x{macs:.2f} bytes /{size:.2f} speed x{speed:.2f} share {row['coverage']} {row['seconds']}s {keep}"


def _table(rows: list[Row]) -> str:
    head = (
        "| model | step | params | MACs | bytes | score before | score after | ms before | ms after | Q/DQ share | s |"
    )
    lines = [head, "|" + "---|" * 11]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['model']} | {row['step']} | refused: {row['refused'][:120]} |" + " |" * 8)
            continue
        pairs = [f"{row[f'{k}_before']:,} -> {row[f'{k}_after']:,}" for k in ("params", "macs", "bytes")]
        was, now = _scores(row["quality"])
        share = "" if row["coverage"] is None else f"{row['coverage']:.2f}"
        times = [f"{row[f'ms_{when}']:.2f}" for when in ("before", "after")]
        figures = [row["model"], row["step"], *pairs, was, now, *times, share, str(row["seconds"])]
        lines.append(f"| {' | '.join(figures)} |")
    return "\n".join(lines)


def _scores(quality: Row) -> tuple[str, str]:
    """Score before and after where there are labels; else how far the outputs are."""
    for score in ("metric", "accuracy"):
        if f"{score}_after" in quality:
            return f"{100 * quality[f'{score}_before']:.2f} %", f"{100 * quality[f'{score}_after']:.2f} %"
    return _distance(quality, "_before"), _distance(quality, "")


def _distance(quality: Row, when: str) -> str:
    sqnr, agreement = quality.get(f"sqnr_db{when}"), quality.get(f"top1_agreement{when}")
    told = [f"{sqnr:.1f} dB"] if sqnr is not None else []
    told += [f"agreement {100 * agreement:.1f} %"] if agreement is not None else []
    return ", ".join(told) or ("equal" if not when and quality.get("max_abs") == 0 else "")


def _page(rows: list[Row]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in environment(OPTIONS).items())
    return f"""# Every real model through every command

Written by `python benchmarks/real_models.py --out docs/results/real_models.md`; one thread, seed 0; {versions}.

- `prune`: `--ratio 0.5`, with the closed-form repair. `quantize`: target ort-cpu; `quantize-trt`: target tensorrt.
- `distill`: a student that lost 30 % of its channels and was not repaired; 300 steps, 20 on models of 25 M MACs and
  more (and yunet, whose pictures are large). No labels are used in training.
- `auto`: `run auto`; without its distill step on those larger models.
- Score: accuracy (or the metric) of input and output on samples that nothing was fitted to; without labels the SQNR
  of the worst output, and top-1 agreement where the output names a class: for `distill` against the teacher, before and
  after; for the others against the input.
- ms: medians of one run at up to 16 samples, ONNX Runtime on CPU, paired and interleaved. TensorRT's files are not
  meant for this runtime. Runs under 10 ms claim no speed. Taken on a shared machine: the pair before and after is
  fair (it ran side by side), seconds and milliseconds of different rows are not.

{_table(rows)}
"""


if __name__ == "__main__":
    main()
