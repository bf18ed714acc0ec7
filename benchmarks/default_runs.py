r"""The default run of `quantize --data` on every model that can be measured here: what it loses, and what it says.

    ONNXCOMPRESS_TEST_DATA=FOLDER [ONNXCOMPRESS_BENCH=FOLDER] \
        python benchmarks/default_runs.py [--out PAGE.md] [NAME ...]

One Markdown row a model, on the whole test set: score, the float model's, the paired difference (points) with its 95 %
interval,
samples, tensors left float for the outputs' sake (islands) and for time's, size, processor seconds of the run, and the
speed beside the float model (paired, one thread; in brackets where it is within the noise; `said` where the report
warned that the file may be slower). `--effort` and `--test` as in the other benchmarks. No peers: those are in ptq.py.
"""

from __future__ import annotations

import argparse
import collections
import resource
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scores
from cases import Case, case, names

import onnxcompress
from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.errors import CompressError
from onnxcompress.runtime import batch_for, feeds_of, latency
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)
PAGE = """# What the default `quantize --data` loses

Written by `python benchmarks/default_runs.py` (target ort-cpu, here ort-x86-vnni; 128 unlabelled calibration samples;
one thread; the machine was shared with other work, so the speeds are rough).

Score, the float model's, and the paired difference in points with its 95 % interval, on the whole test set (n). Islands
are tensors left float because the outputs need it, beside those left float because integers would slow them down.
Smaller: the float file's bytes over the result's. CPU s: processor seconds of the whole run. Speed: float time over the
result's, paired and interleaved; in brackets where it is within the noise; `said` where the report warned that the file
may not be faster. minilm_l3, magika and the ocr models come from registry packages (`benchmarks/hard_models.py`), the
fmnist and fsdd models without a file in the test folder were trained as stand-ins for published ones. Rules and
thresholds of the default run were chosen while looking at several of these models: they are not held out.
"""
HEAD = """| model | measure | score | float | difference | n | islands | left for time | smaller | CPU s | speed |
|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models (see scores.py --list); all by default")
    parser.add_argument("--effort", default="default")
    parser.add_argument("--target", default="ort-cpu")
    parser.add_argument("--calibration", type=int, default=128, help="samples to calibrate on")
    parser.add_argument("--test", type=int, help="about so many test samples; all by default")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds")
    parser.add_argument("--work", type=Path, help="keep the quantized files in this folder")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    given = parser.parse_args()
    print(HEAD, flush=True)
    lines: list[str] = []
    for name in given.names or names():
        with tempfile.TemporaryDirectory(prefix="default-") as scratch:
            folder = given.work or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            of = scores.cut(case(name, calibration=given.calibration), given.test)
            lines.append(row(of, folder / f"{name}.onnx", given))
            print(lines[-1], flush=True)
    if given.out is not None:
        given.out.write_text("\n".join([PAGE, HEAD, *lines]) + "\n")


def row(of: Case, out: Path, given: argparse.Namespace) -> str:
    """One line of the table."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        result = onnxcompress.quantize(
            of.path, data=ArraySource(of.calibration), runtime=ONE, effort=given.effort, target=given.target
        )
    except CompressError as error:
        return f"| {of.name} | failed: {error} |" + " |" * 9
    taken = resource.getrusage(resource.RUSAGE_SELF)
    result.save(out, force=True)
    seconds = taken.ru_utime + taken.ru_stime - before.ru_utime - before.ru_stime
    told = collections.Counter(finding.code for finding in result.report.findings)
    figures = [told["QUANT-ISLAND-TENSOR"], told["QUANT-NO-GAIN"]]
    return f"{_scored(of, out, figures)} {seconds:.1f} | {_speed(of, out, given.rounds, told)} |"


def _scored(of: Case, out: Path, figures: list[int]) -> str:
    found = scores.score(out, of)
    many = f"{found.count} | {figures[0]} | {figures[1]} | {found.smaller:.2f} x |"
    if found.reference is None or found.difference is None:
        return f"| {of.name} | {found.measure} | {found.value:.1f} | | | {many}"
    low, high = (100 * v for v in found.interval or (np.nan, np.nan))
    score = f"{100 * found.value:.2f} | {100 * found.reference:.2f}"
    return f"| {of.name} | {found.measure} | {score} | {100 * found.difference:+.2f} [{low:+.2f}, {high:+.2f}] | {many}"


def _speed(of: Case, out: Path, rounds: int, told: Mapping[str, int]) -> str:
    models = {"float": model_io.load(str(of.path)), "ours": model_io.load(str(out))}
    one = next(iter(feeds_of(models["float"], ArraySource({k: v[:1] for k, v in of.test.items()}))))
    feeds = batch_for(models["float"], one.arrays, options=ONE)
    found = latency(models, feeds, options=ONE, rounds=rounds)
    text = f"{found.ratio['ours']:.2f} x"
    text = text if found.beyond_noise("ours") else f"({text})"
    return f"{text} said" if told["QUANT-NOT-FASTER"] else text


if __name__ == "__main__":
    main()
