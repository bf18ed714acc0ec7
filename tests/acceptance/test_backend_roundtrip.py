"""Load and save change nothing: every node model of ONNX's own suite that ONNX Runtime runs, to the last bit."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import pytest
from builders.backend_cases import Case, cases
from builders.equality import difference, interface, run_or_none

from onnxcompress import graph
from onnxcompress.errors import ModelError
from onnxcompress.model_io import fingerprint, load, save, to_bytes

VARIANTS = ("plain", "constified")
# What the loader refuses by name, with how many models of the suite that concerns. The list may only shrink.
REFUSED: dict[str, int] = {}


def sample(every: int) -> Iterator[Case]:
    for variant in VARIANTS:
        yield from cases(variant, every=every)


def check(case: Case, folder: Path) -> str:
    """`equal`, `not run`, `not repeatable`, or what differs."""
    before = run_or_none(case.model, case.feeds)
    if before is None:
        return "not run"
    again = run_or_none(case.model, case.feeds)
    if again is None or difference(before, again, 0):
        return "not repeatable"
    model = load(case.model)
    path = save(model, folder / "model.onnx", force=True)
    after_model = onnx.load(path)
    if interface(case.model) != interface(after_model):
        return "another interface"
    after = run_or_none(after_model, case.feeds)
    if after is None:
        return "does not run any more"
    return difference(before, after, 0) or _second_trip(model, path) or "equal"


def _second_trip(model: object, path: Path) -> str:
    again = load(path)
    if to_bytes(again) != path.read_bytes():
        return "the second trip gives other bytes than the first"
    if to_bytes(graph.clone(again)) != path.read_bytes():
        return "a clone gives other bytes"
    return "" if fingerprint(model) == fingerprint(again) else "another fingerprint"


def tally(found: Iterable[Case], folder: Path) -> tuple[Counter[str], Counter[str], list[str]]:
    outcomes, refused, wrong = Counter(), Counter(), []
    for case in found:
        try:
            outcome = check(case, folder)
        except ModelError as error:
            outcome = "refused"
            refused[error.code] += 1
        outcomes[outcome if outcome in ("equal", "not run", "not repeatable", "refused") else "wrong"] += 1
        if outcome not in ("equal", "not run", "not repeatable", "refused"):
            wrong.append(f"{case.name}: {outcome}")
    return outcomes, refused, wrong


def test_sample_is_unchanged(tmp_path: Path) -> None:
    outcomes, refused, wrong = tally(sample(every=23), tmp_path)
    assert not wrong
    assert set(refused) <= set(REFUSED)
    assert outcomes["equal"] > 100


@pytest.mark.ci
def test_whole_suite_is_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes, refused, wrong = tally(sample(every=1), tmp_path)
    with capsys.disabled():
        sys.stdout.write(f"\nbackend suite, load -> save: {dict(sorted(outcomes.items()))}\n")
    assert not wrong
    assert refused == REFUSED
    assert outcomes["equal"] > 3_000
