from __future__ import annotations

import html.parser
import re

from builders.reports import full_report

from onnxcompress.report import Report
from onnxcompress.report.html import headline, to_html


class _Checker(html.parser.HTMLParser):
    """Collects tags and attributes, and checks that every element is closed in order."""

    VOID = ("meta", "rect", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def _parse(report: Report) -> _Checker:
    checker = _Checker()
    checker.feed(to_html(report))
    assert checker.open == []
    return checker


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    tags = _parse(full_report()).seen
    assert not [tag for tag, _ in tags if tag in ("script", "link", "img", "iframe", "object")]
    assert not [attrs for _, attrs in tags if {"src", "href", "srcset"} & set(attrs)]
    assert "url(" not in to_html(full_report())
    assert "default-src 'none'" in to_html(full_report())


def test_names_from_a_model_are_escaped() -> None:
    page = to_html(full_report())
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_every_pass_has_its_bar_and_the_bars_keep_proportion() -> None:
    rects = [attrs for tag, attrs in _parse(full_report()).seen if tag == "rect" and "y" in attrs]
    assert len(rects) == 3 * 4  # three costs, the input and three passes
    heights = [float(attrs["height"] or 0) for attrs in rects[:4]]
    assert heights[0] == 40
    assert abs(heights[1] / heights[0] - 50_123_456 / 98_765_432) < 1e-3


def test_dark_mode_and_print_are_styled() -> None:
    page = to_html(full_report())
    assert "prefers-color-scheme: dark" in page
    defined = set(re.findall(r"(--[a-z-]+):", page))
    assert set(re.findall(r"var\((--[a-z-]+)\)", page)) <= defined


def test_the_headline_names_what_changed() -> None:
    assert headline(full_report()) == [
        ("7.59x", "smaller file"),
        ("1.97x", "fewer multiply-adds"),
        ("3.00x", "as fast"),
        ("97.02 %", "accuracy (-0.29 pt)"),
    ]
    assert headline(Report()) == []


def test_a_report_without_passes_or_data_is_a_page_too() -> None:
    assert "Passes" not in to_html(Report())
    _parse(Report())


def test_checks_are_short_and_leave_single_outputs_to_the_json() -> None:
    report = full_report()
    report.passes[0].checks = {"cosine": 0.97254321, "interval": [-0.01234567, 0.1], "outputs": {"y": {"max_abs": 1.0}}}
    page = to_html(report).split("The whole report as JSON")[0]
    assert "cosine = 0.9725<br>interval = -0.01235 to 0.1<br>" in page
    assert "outputs =" not in page
