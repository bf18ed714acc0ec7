"""normalize over ONNX's own node models: nothing invalid, nothing unequal, nothing left for a second run."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from builders.backend_cases import Case, cases
from builders.equality import difference, interface, is_checked, run, run_or_none

from onnxcompress.passes.normalize import Normalize
from onnxcompress.testing import context

SAMPLE = 23  # a prime, so that the sample is spread over all operators


def complaint(case: Case) -> str | None:
    """What is wrong after the pass, in one line; empty where nothing is, None where the model does not run at all."""
    before = run_or_none(case.model, case.feeds)
    if before is None:
        return None
    model = ir.from_proto(case.model)
    declared = interface(ir.to_proto(model))
    list(Normalize().run(model, context(model)))
    after = ir.to_proto(model)
    again = [f.code for f in Normalize().run(model, context(model)) if f.code != "NORMALIZE-FOLD-SIZE"]
    if again:
        return f"a second run still does {again}"
    if declared != interface(after):
        return "the interface changed"
    if not is_checked(after) and is_checked(case.model):
        return "the checker refuses it"
    return difference(before, run(after, case.feeds))


def check(variant: str, every: int, at_least: int) -> None:
    found = {case.name: complaint(case) for case in cases(variant, every=every)}
    ran = {name: text for name, text in found.items() if text is not None}
    assert {name: text for name, text in ran.items() if text} == {}
    assert len(ran) >= at_least


@pytest.mark.parametrize("variant", ["plain", "constified"])
def test_a_sample_of_the_backend_suite(variant: str) -> None:
    check(variant, SAMPLE, 50)


@pytest.mark.ci
@pytest.mark.parametrize("variant", ["plain", "constified"])
def test_the_whole_backend_suite(variant: str) -> None:
    check(variant, 1, 1500)
