"""A report as text: a table of at most 80 columns, for a terminal or a log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from onnxcompress.report.records import Report, Severity
from onnxcompress.report.summary import (
    FindingGroup,
    Row,
    cost_rows,
    group_findings,
    latency_rows,
    pass_line,
    quality_rows,
    zero_rows,
)
from onnxcompress.report.zeros import LayerZeros, layers

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

WIDTH = 80
_LAYERS = 30  # rows of a table by layer; the page and the JSON have all


def to_text(report: Report, *, findings: bool = True) -> str:
    """The report as plain text, no line longer than 80 columns.

    Args:
        report: What to show.
        findings: List all groups of findings, not only those that warn.
    """
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=WIDTH, highlight=False, color_system=None, force_terminal=False)
    console.print(render(report, findings=findings))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def render(report: Report, *, findings: bool = True) -> Group:
    """The report for rich: figures, passes, findings and notes."""
    from rich.console import Group
    from rich.text import Text

    rows = [*cost_rows(report.before, report.after), *zero_rows(report.passes)]
    parts = [_figures(rows, quality_rows(report.quality), latency_rows(report.latency))]
    if report.passes:
        parts.append(_passes(report))
    sparse = layers(report.passes) if findings else []
    if sparse:
        parts.append(_layers(sparse))
    groups = group_findings(report.findings)
    shown = [g for g in groups if findings or g.severity is Severity.WARNING]
    if shown:
        parts.append(findings_table(shown))
    hidden = sum(g.count for g in groups) - sum(g.count for g in shown)
    more = (
        [f"{_count(hidden, 'more finding')}: see {'it' if hidden == 1 else 'them'} with -v or in --report"]
        if hidden
        else []
    )
    notes = [Text(f"note: {note}", overflow="fold") for note in (*report.notes, *_samples(report), *more)]
    notes += [Text(line, overflow="fold") for line in _exclude(report.exclude)] if findings else []
    spaced = [item for part in parts for item in (part, Text(""))]
    return Group(*spaced, *notes) if notes else Group(*spaced[:-1])


def _figures(*sections: list[Row]) -> Table:
    from rich.text import Text

    table = _table("", "before", "after", "change")
    for index in (1, 2, 3):
        table.columns[index].justify = "right"
        table.columns[index].no_wrap = True
    for section in filter(None, sections):
        for row in section:
            table.add_row(Text(row.label), row.before, row.after, _tinted(row))
        table.add_section()
    return table


def _tinted(row: Row) -> str:
    if row.better is None:
        return row.change
    return f"[green]{row.change}[/green]" if row.better else f"[red]{row.change}[/red]"


def _passes(report: Report) -> Table:
    table = _table("pass", "what it did", "seconds")
    table.columns[2].justify = "right"
    for record in report.passes:
        table.add_row(record.name, pass_line(record), f"{record.seconds:.1f}")
    return table


def _layers(found: list[LayerZeros]) -> Table:
    """Zeros by layer, the first of them."""
    from rich.text import Text

    table = _table("layer", "weights", "zeros", "error by magnitude", "error now")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for layer in found[:_LAYERS]:
        table.add_row(Text(layer.name), layer.weights, layer.share, layer.plain, layer.error)
    if len(found) > _LAYERS:
        table.add_row(f"and {len(found) - _LAYERS} more", "", "", "", "")
    return table


def findings_table(groups: list[FindingGroup]) -> Table:
    """Findings by code, with the first of each."""
    from rich.text import Text

    table = _table("finding", "n", "first of them")
    table.columns[0].overflow, table.columns[1].justify = "fold", "right"
    for group in groups:
        where = f"{group.nodes[0]}: " if group.nodes else ""
        style = "yellow" if group.severity is Severity.WARNING else ""
        table.add_row(Text(group.code, style=style), str(group.count), Text(where + group.message, overflow="fold"))
    return table


def _exclude(flags: list[str]) -> list[str]:
    """What to paste to leave the same nodes float in another run, one a line."""
    lines = [f"  {flag} \\" for flag in flags[:-1]] + [f"  {flag}" for flag in flags[-1:]]
    return ["nodes left float by choice, for another run:", *lines] if lines else []


def _samples(report: Report) -> list[str]:
    count = report.quality.get("samples")
    return [f"quality measured on {_count(count, 'held-out sample' if report.passes else 'sample')}"] if count else []


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _table(*headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1))
    for heading in headings:
        table.add_column(heading)
    return table
