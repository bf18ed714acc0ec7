"""A report as one self-contained page: no script, no network, inline SVG, readable in light and dark."""

from __future__ import annotations

from importlib import resources

from onnxcompress.report.records import Report
from onnxcompress.report.summary import (
    Row,
    cost_rows,
    group_findings,
    latency_rows,
    long_enough,
    pass_line,
    quality_rows,
    zero_rows,
)
from onnxcompress.report.units import LABELS, cost, short, times
from onnxcompress.report.zeros import layers, standing


def to_html(report: Report) -> str:
    """The report as an HTML page. Everything from the model (names, messages) is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = (resources.files("onnxcompress.report") / "report.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        headline=headline(report),
        sections=_sections(report),
        passes=[
            {
                "record": r,
                "line": pass_line(r),
                "options": _options(r.spec),
                "checks": _checks(r.checks),
                "bar": _bar(report, r.after),
            }
            for r in report.passes
        ],
        steps=_steps(report),
        layers=layers(report.passes),
        findings=group_findings(report.findings),
        notes=report.notes,
        report=report,
        json=report.to_json(),
    )


def headline(report: Report) -> list[tuple[str, str]]:
    """The few figures that matter most, e.g. ``3.9x`` and ``smaller file``."""
    found = [
        (times(report.before.get("bytes", 0), report.after.get("bytes", 0)), "smaller file"),
        (times(report.before.get("macs", 0), report.after.get("macs", 0)), "fewer multiply-adds"),
    ]
    sparse = standing(report.passes)
    found.append((times(sparse.get("zipped_before", 0), sparse.get("zipped", 0)), "smaller when zipped"))
    rows = latency_rows(report.latency)
    if rows and rows[-1].better is not None and rows[-1].fraction and long_enough(report.latency):
        found.append((f"{1 / rows[-1].fraction:.2f}x", "as fast"))
    quality = quality_rows(report.quality)[:1]
    found += [(row.after, f"{row.label} ({row.change})" if row.change else row.label) for row in quality]
    return [(figure, label) for figure, label in found if figure and figure != "1.00x"]


def _sections(report: Report) -> list[tuple[str, list[Row]]]:
    sections = [
        ("Size and work", [*cost_rows(report.before, report.after), *zero_rows(report.passes)]),
        ("Quality on held-out samples" if report.passes else "Quality on the samples", quality_rows(report.quality)),
        ("Time of a run", latency_rows(report.latency)),
    ]
    return [(title, rows) for title, rows in sections if rows]


def _options(spec: dict[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in spec.items() if key != "pass")


def _checks(checks: dict[str, object]) -> list[tuple[str, str]]:
    """Figures of the verification in few digits; those of single outputs are in the JSON."""
    plain = [(key, value) for key, value in checks.items() if not isinstance(value, dict)]
    return [(k, " to ".join(map(short, v)) if isinstance(v, list | tuple) else short(v)) for k, v in plain]


def _bar(report: Report, after: dict[str, int]) -> float | None:
    whole = report.before.get("bytes", 0)
    return 100 * min(1.0, after.get("bytes", 0) / whole) if whole and after else None


def _steps(report: Report) -> list[dict[str, object]]:
    """One staircase a cost: its share of the input after each pass, as points of an SVG path (100 x 40)."""
    names = ["input", *(record.name for record in report.passes)]
    return [_step(key, names, report) for key in ("macs", "params", "bytes") if report.before.get(key)]


def _step(key: str, names: list[str], report: Report) -> dict[str, object]:
    values = [report.before[key], *(record.after.get(key, 0) for record in report.passes)]
    top, width = max(values), 100 / len(values)
    bars = [
        {
            "x": round(index * width + 0.1 * width, 3),
            "width": round(0.8 * width, 3),
            "height": round(40 * value / top, 3),
            "y": round(40 - 40 * value / top, 3),
            "title": f"{name}: {cost(key, value)}",
        }
        for index, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    return {"label": LABELS[key], "bars": bars, "first": cost(key, values[0]), "last": cost(key, values[-1])}
