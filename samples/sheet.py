"""A table that a sample measures: each row is remembered once measured, the page is written from what is remembered.

    sheet = Sheet("vgg16_pruning", "VGG16: pruning", COLUMNS, note="...", inputs=(MODEL, DATA))
    sheet.row("float", lambda seed: task.figures(MODEL), quick=True)
    sheet.row("distilled", lambda seed: train(seed), seeds=(0, 1, 2))
    sheet.write(plot=scatter("kB", "accuracy", "kB", "accuracy %"))

`python -m samples.NAME.table`, in the root of the repository, measures what is missing in out/results/NAME.json, writes
docs/results/samples/NAME.md, .json and .svg, and the table between the marks of the sample's README. `--again` forgets
what was measured, `--keep` takes what docs/results/samples has. `--quick` measures only rows marked `quick`, at the
first seed, and writes NAME.json into `--out`: a test compares it with the committed one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from onnxcompress.environment import environment
from onnxcompress.runtime_options import RuntimeOptions

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "samples"
WORK = ROOT / "out" / "results"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
Figures = Mapping[str, Any]
Draw = Callable[[Any, Mapping[str, Figures]], None]


@dataclass(frozen=True)
class Column:
    """One figure of every row.

    Attributes:
        key: Its name among a row's figures.
        heading: As the table says it.
        form: How it is written, as in format(); "s" for text.
        tolerance: By how much a rerun may differ, in the figure's unit; None where it is not compared (times).
        relative: The tolerance is a fraction of the committed figure.
    """

    key: str
    heading: str
    form: str = ".1f"
    tolerance: float | None = None
    relative: bool = False

    def shown(self, runs: Sequence[Figures]) -> str:
        """Mean over the runs, with the standard deviation where there are several that differ."""
        values = [run[self.key] for run in runs if run.get(self.key) is not None]
        if not values:
            return "-"
        if self.form == "s":
            return str(values[0])
        spread = f"{stdev(values):{self.form.lstrip('+')}}" if len(values) > 1 else "0"
        return f"{mean(values):{self.form}}" + (f" ± {spread}" if float(spread) else "")

    def differs(self, kept: Figures, new: Figures) -> bool:
        """True where a rerun is further off than the tolerance."""
        if self.tolerance is None or self.key not in kept:
            return False
        limit = self.tolerance * (abs(kept[self.key]) if self.relative else 1)
        return not math.isclose(kept[self.key], new[self.key], rel_tol=0, abs_tol=limit)


ACCURACY = Column("accuracy", "accuracy %", ".2f", tolerance=1.0)
KB = Column("kB", "kB", ".0f", tolerance=0.02, relative=True)
ZIPPED = Column("zipped", "kB zipped", ".0f", tolerance=0.05, relative=True)
SMALLER = Column("smaller", "smaller", ".1f")
PARAMS = Column("params", "k params", ".0f", tolerance=0.02, relative=True)
MACS = Column("macs", "M MACs", ".2f", tolerance=0.05, relative=True)
MS = Column("ms", "ms", ".3f")
FASTER = Column("faster", "faster", ".2f")
BATCH_FASTER = Column("batch_faster", "faster in batches", ".2f")


class Sheet:
    """Rows, and where they are kept.

    Args:
        name: Of the sample, and of its files.
        title: Heading of the page.
        columns: What a row shows.
        note: What was measured, and how to do it again; Markdown above the table.
        inputs: Files that the figures depend on: where one changes, what was measured counts no more.
        arguments: Of the command line; sys.argv by default.
        readme: Page that shows the table too, between its marks; the sample's own by default.
        threads: How many the page says that its figures were taken with.
    """

    def __init__(
        self,
        name: str,
        title: str,
        columns: Sequence[Column],
        note: str = "",
        inputs: Sequence[Path] = (),
        arguments: Sequence[str] | None = None,
        readme: Path | None = None,
        threads: int = 1,
    ) -> None:
        given = _arguments(arguments)
        self.name, self.title, self.columns, self.note = name, title, columns, note
        self.quick, self.folder = given.quick, given.out
        self._log = (self.folder if given.quick else given.work) / f"{name}.json"
        self._readme = readme or ROOT / "samples" / name / "README.md"
        self._inputs, self._threads = _digest(inputs), "one thread" if threads == 1 else f"{threads} threads"
        known = RESULTS / self._log.name if given.keep else self._log
        self._runs: dict[str, dict[str, Any]] = _rows(known) if known.exists() and not given.again else {}
        self._order: list[str] = []
        for folder in (self.folder, self._log.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def row(
        self, label: str, measure: Callable[[int], Figures], *, seeds: Sequence[int] = (0,), quick: bool = False
    ) -> list[Figures]:
        """Measure what is not known yet, one seed after the other, and remember each.

        Args:
            label: Of the row.
            measure: Figures of one seed; a row without chance has the one seed 0.
            seeds: Of the runs.
            quick: Also measured by --quick, at the first seed.

        Returns:
            The figures, seed by seed; none where --quick leaves the row out.
        """
        if self.quick:
            seeds = seeds[:1] if quick else ()
        self._order.append(label)
        for seed in seeds:
            if self._runs.get(label, {}).get(str(seed), {}).get("inputs") != self._inputs:
                self._measure(label, measure, seed)
        return [self._runs[label][str(seed)] for seed in seeds]

    def _measure(self, label: str, measure: Callable[[int], Figures], seed: int) -> None:
        begin = time.perf_counter()
        figures = dict(measure(seed))
        seconds = round(time.perf_counter() - begin, 1)
        figures.update(seconds=seconds, made_with=_versions(), inputs=self._inputs)
        self._runs.setdefault(label, {})[str(seed)] = figures
        self._keep()
        print(f"{self.name}: {label}, seed {seed}: {seconds:.0f} s", flush=True)

    def _keep(self) -> None:
        tolerances = {c.key: [c.tolerance, c.relative] for c in self.columns if c.tolerance is not None}
        text = json.dumps({"rows": self._runs, "tolerances": tolerances}, indent=1, ensure_ascii=False)
        self._log.write_text(text + "\n", encoding="utf-8")

    def write(self, *, plot: Draw | None = None, remarks: str = "") -> None:
        """The page, the plot, and the table of the README; nothing of it with --quick.

        Args:
            plot: Draws on a matplotlib figure, from the means of every row; `scatter` and `panels` give one.
            remarks: What the table shows; Markdown below it.
        """
        self._runs = {label: self._runs[label] for label in self._order if label in self._runs}
        self._keep()
        if self.quick:
            return
        picture = f"![{self.title}]({self.name}.svg)\n" if plot else ""
        parts = [f"# {self.title}\n", f"{self.note.strip()}\n", f"{self._stamp()}\n", self.table(), picture, remarks]
        text = "\n".join(part for part in parts if part.strip()).rstrip() + "\n"
        (self.folder / f"{self.name}.md").write_text(text, encoding="utf-8")
        shutil.copyfile(self._log, self.folder / self._log.name)
        if plot:
            draw(plot, self.means(), self.folder / f"{self.name}.svg")
        if self.folder == RESULTS and self._readme.exists():
            _between_marks(self._readme, self.table())

    def means(self) -> dict[str, dict[str, Any]]:
        """Mean of every number, by row."""
        return {label: _mean(list(runs.values())) for label, runs in self._runs.items()}

    def table(self) -> str:
        """The table in Markdown."""
        head = [
            " | ".join(cells)
            for cells in (["model", *(c.heading for c in self.columns)], ["---"] * (1 + len(self.columns)))
        ]
        rows = [
            " | ".join([k, *(c.shown(list(runs.values())) for c in self.columns)]) for k, runs in self._runs.items()
        ]
        return "\n".join(f"| {line} |" for line in [*head, *rows]) + "\n"

    def _stamp(self) -> str:
        runs = [run for row in self._runs.values() for run in row.values()]
        versions = sorted({run["made_with"] for run in runs})
        seeds = sorted({int(seed) for row in self._runs.values() for seed in row})
        told = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}" if seeds else "no rows"
        return f"{'; '.join(versions)}; {told}; {self._threads}; {sum(run['seconds'] for run in runs):.0f} s in all."


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure this sample's table; what is known already is not measured again."
    )
    parser.add_argument("--quick", action="store_true", help="only the rows that a test compares, one seed")
    parser.add_argument("--keep", action="store_true", help="go on from what docs/results/samples has")
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the page (docs/results/samples)")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of what was measured (out/results)")
    return parser.parse_args(arguments)


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files)).hexdigest()[:16]


def _rows(log: Path) -> dict[str, dict[str, Any]]:
    return json.loads(log.read_text(encoding="utf-8"))["rows"]


def _versions() -> str:
    found = environment(RuntimeOptions(threads=1))
    return ", ".join(f"{k} {found[k]}" for k in ("onnxcompress", "onnxruntime", "torch", "numpy") if k in found)


def _mean(runs: list[Figures]) -> dict[str, Any]:
    numbers = [k for k, v in runs[0].items() if isinstance(v, int | float) and not isinstance(v, bool)]
    return {**runs[0], **{k: mean(run[k] for run in runs if run.get(k) is not None) for k in numbers}}


def scatter(x: str, y: str, x_label: str, y_label: str, *, log_x: bool = False) -> Draw:
    """A plot of one figure against another, a named dot a row: for a few rows that lie apart."""

    def dots(figure: Any, rows: Mapping[str, Figures]) -> None:
        axes = figure.subplots()
        shown = {k: row for k, row in rows.items() if row.get(x) is not None and row.get(y) is not None}
        for label, row in shown.items():
            axes.scatter(row[x], row[y], s=28)
            axes.annotate(label, (row[x], row[y]), xytext=(5, 3), textcoords="offset points", fontsize=7)
        axes.set(xlabel=x_label, ylabel=y_label, xscale="log" if log_x else "linear")

    return dots


def panels(*keys: tuple[str, str], least: float | None = None) -> Draw:
    """One line a row, one panel a figure: for many rows.

    Args:
        keys: Figures with their headings, left to right.
        least: Where the first panel's axis begins; what is less is drawn there, as a triangle with its number.
    """

    def lines(figure: Any, rows: Mapping[str, Figures]) -> None:
        figure.set_size_inches(7.5, 0.8 + 0.21 * len(rows))
        names = list(rows)[::-1]
        for number, (axes, (key, label)) in enumerate(zip(_many(figure, len(keys)), keys, strict=True)):
            floor = least if number == 0 else None
            for at, name in enumerate(names):
                _mark(axes, at, rows[name].get(key), floor)
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.set(
                xlabel=label, ylim=(-0.6, len(names) - 0.4), xlim=(floor, None) if floor is not None else (0, None)
            )
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)

    return lines


def _many(figure: Any, count: int) -> list[Any]:
    return list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def _mark(axes: Any, at: int, value: float | None, floor: float | None) -> None:
    if value is None:
        return
    if floor is not None and value < floor:
        axes.plot(floor, at, "<", color="#b04030", clip_on=False)
        axes.annotate(f"{value:.0f}", (floor, at), xytext=(6, -3), textcoords="offset points", fontsize=7)
    else:
        axes.plot(value, at, "o", color="#4878a8", markersize=5)


def draw(plot: Draw, rows: Mapping[str, Figures], path: Path) -> None:
    """An SVG of the same bytes for the same figures."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "onnxcompress", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        plot(figure, rows)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def _between_marks(path: Path, table: str) -> None:
    text = path.read_text(encoding="utf-8")
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        path.write_text(f"{before}{BEGIN}\n{table}{END}{rest.split(END, 1)[1]}", encoding="utf-8")
