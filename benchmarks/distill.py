"""What distillation wins back: students of real models, taught by what they were made from, beside labels.

    ONNXCOMPRESS_TEST_DATA=FOLDER python benchmarks/distill.py [--out docs/results/distillation.md] [--budget 3m]
        [--seeds 3] [--ways distilled labels] [--jobs 2] [--work out/distill] [NAME ...]

Students: pruned to 0.5 and 0.3 of the multiply-accumulates with reconstruction (`prune --target-macs`), and weights of
4 with activations of 8 bits (`quantize --weights int4`, rounded by second order, and with `--effort fast`, to nearest),
made with 1,500 samples at most. Each goes through `onnxcompress distill` as a user would type it: 5,000 samples at most
to train on, all else at its default, one thread, `--budget` of wall clock, three seeds. "labels" is the same command
with `--loss ce`: the same loop, data and time, but labels in place of the teacher, also to choose the best weights by
and to judge the result; where they bring nothing, the student stays as it was. "taught by" is another net of that
task, as it was trained, with a teacher that it shares no tensor name with.

A score is the measure of the model on its whole test set (`scores.py`); differences are paired, in points, with the
95 % interval of the first seed; "±" is the standard deviation of two or three seeds, a row without it has one. Every
run is kept in the page's .json, and what is there is not run again; `--seeds 0` only writes the page. NAME is as in
cases.py; models of ONNXCOMPRESS_BENCH are taken as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from cases import Case, case, samples_of
from catalog import Arrays, catalog
from scores import compared, rows

from onnxcompress.environment import environment
from onnxcompress.runtime_options import RuntimeOptions

NAMES = ("fmnist_vgg_bn", "fmnist_resnet8", "bccd_dwcnn", "ecg_resnet1d_ds1", "fmnist_vit", "fsdd_gru")
STUDENTS: dict[str, tuple[str, ...]] = {
    "0.7 x MACs": ("prune", "--target-macs", "0.7x"),
    "0.5 x MACs": ("prune", "--target-macs", "0.5x"),
    "0.3 x MACs": ("prune", "--target-macs", "0.3x"),
    "W4A8": ("quantize", "--weights", "int4"),
    "W4A8 fast": ("quantize", "--weights", "int4", "--effort", "fast", "--islands", "0"),
}
USUAL = ("0.5 x MACs", "0.3 x MACs", "W4A8", "W4A8 fast")
# Samples to train on, and to make students with, at most.
MOST, MADE_WITH = 5000, 1500
# An independent student and its teacher.
INDEPENDENT = {"fmnist_resnet8": "fmnist_vgg_bn"}
_TAUGHT = "taught by "
_VERDICTS = ("DISTILL-TRAINED", "DISTILL-REPAIR-ONLY", "DISTILL-NO-GAIN", "DISTILL-CLOSE", "DISTILL-SAME")
WAYS: dict[str, tuple[str, ...]] = {"distilled": (), "labels": ("--loss", "ce")}
COLUMNS = ("model", "student", "float", "start", "distilled", "gain over start", "seconds")
_RIVAL = ("labels alone", "distilled - labels")
_QUIET = ("--threads", "1", "--quiet", "--force")


@dataclass(frozen=True)
class Plan:
    """One run: a student of a model, a way to train it, a seed."""

    name: str
    student: str
    way: str
    seed: int

    @property
    def teacher(self) -> str:
        """Name of the model that teaches."""
        return self.student.removeprefix(_TAUGHT) if self.student.startswith(_TAUGHT) else self.name

    @property
    def key(self) -> str:
        """Its name among the runs."""
        return "|".join((self.name, self.student, self.way, str(self.seed)))


class Bench:
    """Files, runs and scores of one benchmark.

    Args:
        work: Folder for students, samples and runs.json.
        budget: Wall clock of one distillation.
        log: Where runs are kept; runs.json in `work` by default.
        most: Samples to train on at most.
    """

    def __init__(self, work: Path, budget: str, log: Path | None = None, most: int = MOST) -> None:
        self.work, self.budget, self._most = work, budget, most
        work.mkdir(parents=True, exist_ok=True)
        self._log = log or work / "runs.json"
        self.runs = self._kept()
        self._cases: dict[str, tuple[Case, np.ndarray]] = {}

    def _kept(self) -> dict[str, dict[str, Any]]:
        return json.loads(self._log.read_text(encoding="utf-8")) if self._log.exists() else {}

    def samples(self, name: str) -> Path:
        """Training samples, with their labels, as a file that the command line reads."""
        path = self.work / f"{name}.train.npz"
        if not path.exists():
            arrays, labels = _training(name, self._most)
            np.savez(path, **arrays, **({} if labels is None else {"labels": labels}))
        return path

    def _calibration(self, name: str) -> Path:
        """The samples that students are made with."""
        path = self.work / f"{name}.calib.npz"
        if not path.exists():
            np.savez(path, **case(name, calibration=min(self._most, MADE_WITH)).calibration)
        return path

    def student(self, name: str, kind: str) -> Path:
        """The compressed model, made where it is not there yet; an independent student is the model itself."""
        if kind.startswith(_TAUGHT):
            return case(name).path
        path = self.work / f"{name}.{kind.replace(' ', '_')}.onnx"
        if not path.exists():
            data = ("--data", str(self._calibration(name)))
            command, *rest = STUDENTS[kind]
            _run(command, str(case(name).path), *rest, *data, *_QUIET, "-o", str(path))
        return path

    def known(self, name: str) -> tuple[Case, np.ndarray]:
        """The case and the float model's rows."""
        if name not in self._cases:
            found = case(name)
            self._cases[name] = found, rows(found.path, found)
        return self._cases[name]

    def run(self, plan: Plan) -> None:
        """Train, score, and remember; nothing where that was done before."""
        if plan.key in self.runs:
            return
        start = self.student(plan.name, plan.student)
        made = self.work / f"{plan.key.replace('|', '.').replace(' ', '_')}.onnx"
        teacher = case(plan.teacher).path
        began = time.perf_counter()
        told = _run(
            "distill", str(start), "--teacher", str(teacher), "--data", str(self.samples(plan.name)),
            *_maps(plan.name), *WAYS[plan.way], "--budget", self.budget, "--seed", str(plan.seed), "--allow-unchanged",
            *_QUIET, "--json", "-o", str(made),
        )  # fmt: skip
        seconds = time.perf_counter() - began
        row = {**_told(told), "seconds": seconds, **self._scored(plan, start, made)}
        self.runs = {**self._kept(), plan.key: row}  # others may have written meanwhile
        self._log.write_text(json.dumps(self.runs, indent=1) + "\n", encoding="utf-8")
        print(f"{plan.key}: {_shown(row)}", flush=True)

    def _scored(self, plan: Plan, start: Path, made: Path) -> dict[str, Any]:
        found, wanted = self.known(plan.name)
        before, after = rows(start, found), rows(made, found)
        whole = compared(found, wanted, before, 1.0)
        gain = compared(found, before, after, 1.0)
        return {"float": whole.reference, "start": whole.value, "end": gain.value, "interval": gain.interval}


def _training(name: str, most: int = MOST) -> tuple[Arrays, np.ndarray | None]:
    """Samples to train on, and their labels where there are any."""
    folder, like = os.environ.get("ONNXCOMPRESS_TEST_DATA"), samples_of(name)
    known = catalog(Path(folder), most) if folder else {}
    if like not in known:
        return case(name, calibration=most).calibration, None
    samples = known[like].samples()
    return samples.train, samples.train_labels


def _maps(name: str) -> tuple[str, ...]:
    return ("--labels", "labels") if _training(name)[1] is not None else ()


def _run(*arguments: str) -> str:
    """stdout of one command of onnxcompress.

    Raises:
        SystemExit: With what it said, where it failed.
    """
    done = subprocess.run((sys.executable, "-m", "onnxcompress", *arguments), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"onnxcompress {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def _told(report: str) -> dict[str, Any]:
    """The verdict of a distillation and its figures."""
    findings = [f for p in json.loads(report)["passes"] for f in p["findings"] if f["code"] in _VERDICTS]
    return {"verdict": findings[-1]["code"], **findings[-1]["numbers"]} if findings else {}


def _shown(run: Mapping[str, Any]) -> str:
    return (
        f"{100 * run['start']:.2f} -> {100 * run['end']:.2f} (float {100 * run['float']:.2f}), {run['seconds']:.0f} s"
    )


def _plans(names: list[str], seeds: int, students: list[str], ways: list[str]) -> Iterator[Plan]:
    """Seed by seed, so that an early end leaves whole tables."""
    for seed in range(seeds):
        for name in names:
            for student in _students(name, students):
                for way in ways:
                    if way == "distilled" or _training(name)[1] is not None:
                        yield Plan(name, student, way, seed)


def _students(name: str, students: list[str]) -> list[str]:
    return [*students, *([_TAUGHT + INDEPENDENT[name]] if name in INDEPENDENT else [])]


def _page(bench: Bench) -> str:
    """All that is known, whatever of it this call was to run."""
    where = environment(RuntimeOptions(threads=1))
    versions = ", ".join(f"{k} {where[k]}" for k in ("onnxcompress", "onnxruntime", "torch", "numpy") if k in where)
    head = (
        f"# Distillation: what students win back\n\n{(__doc__ or '').strip()}\n\n{versions}; budget {bench.budget}.\n"
    )
    rows = [cells(bench, name, student) for name in NAMES for student in _students(name, list(STUDENTS))]
    return f"{head}\n{table((*COLUMNS, *_RIVAL), [row for row in rows if row])}"


def table(columns: Sequence[str], found: Sequence[Sequence[str]]) -> str:
    """Rows below their columns."""
    lines = [columns, ["---"] * len(columns), *found]
    return "\n".join(f"| {' | '.join(entries)} |" for entries in lines).replace(" --- ", "---") + "\n"


def cells(bench: Bench, name: str, student: str) -> list[str]:
    """What is known of one student; empty where nothing is."""
    ours, labels = (_of(bench, name, student, way) for way in WAYS)
    if not ours:
        return []
    first = ours[0]
    low, high = (100 * v for v in first["interval"] or (float("nan"),) * 2)
    gain = 100 * (mean(r["end"] for r in ours) - first["start"])
    made = [name, student, f"{100 * first['float']:.2f}", f"{100 * first['start']:.2f}", _spread(ours)]
    made += [f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]", f"{mean(r['seconds'] for r in ours):.0f}"]
    if not labels:
        return [*made, "-", "-"]
    return [*made, _spread(labels), f"{100 * (mean(r['end'] for r in ours) - mean(r['end'] for r in labels)):+.2f}"]


def _of(bench: Bench, name: str, student: str, way: str) -> list[dict[str, Any]]:
    return [bench.runs[k] for seed in range(9) if (k := Plan(name, student, way, seed).key) in bench.runs]


def _spread(runs: list[dict[str, Any]]) -> str:
    values = [100 * run["end"] for run in runs]
    if not values:
        return "-"
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NAMES))
    parser.add_argument("--students", nargs="*", default=list(USUAL))
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--budget", default="3m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("out/distill"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    bench = Bench(given.work, given.budget, given.out.with_suffix(".json") if given.out else None)
    for name in given.names if given.seeds else ():
        bench.known(name)
        for student in given.students:
            bench.student(name, student)
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(bench.run, _plans(given.names, given.seeds, given.students, given.ways)))
    if given.out:
        given.out.write_text(_page(bench), encoding="utf-8")


if __name__ == "__main__":
    main()
