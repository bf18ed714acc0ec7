"""Every op that the bridge knows, against ONNX Runtime, on ONNX's own backend node suite."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from builders.backend_cases import cases
from builders.equality import run_or_none

from onnxcompress import model_io
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.ops import TABLE
from onnxcompress.errors import ModelError

TOLERANCE = {"float16": (1e-2, 1e-2)}


def outcome(case) -> str:
    """`equal`, `refused`, `not runnable`, or what differs."""
    expected = run_or_none(case.model, case.feeds)
    if expected is None or not all(isinstance(a, np.ndarray) for a in [*expected, *case.feeds.values()]):
        return "not runnable"
    model = model_io.load(case.model)
    try:
        found = Bridge(model).specialise(case.feeds).run(case.feeds)
    except ModelError as error:
        told = error.why and error.hint and (error.where or error.code == "MODEL-DISTILL-TYPE")
        return "refused" if told else f"{case.name}: {error}"
    for value, want in zip(model.graph.outputs, expected, strict=True):
        text = difference(want, found[value.name].detach().numpy())
        if text:
            return f"{case.name}: {text}"
    return "equal"


def difference(want: np.ndarray, found: np.ndarray) -> str:
    if want.shape != found.shape:
        return f"shape {found.shape}, wanted {want.shape}"
    relative, absolute = TOLERANCE.get(str(want.dtype), (1e-3, 1e-4))
    if want.dtype == np.float32:  # ONNX Runtime masks with the lowest number where ONNX says -inf
        want = np.where(want == np.finfo(np.float32).min, -np.inf, want)
    close = np.allclose(want.astype(np.float64), found.astype(np.float64), relative, absolute, equal_nan=True)
    return "" if close else f"differs by {np.abs(want.astype(np.float64) - found).max()}"


def check(variant: str, every: int, at_least: int) -> None:
    torch.set_num_threads(1)
    counts: Counter[str] = Counter(
        outcome(case)
        for case in cases(variant, every=every)
        if {n.domain + n.op_type for n in case.model.graph.node} <= KNOWN
    )
    wrong = set(counts) - {"equal", "refused", "not runnable"}
    assert not wrong
    assert counts["equal"] >= at_least
    assert counts["refused"] <= counts["equal"] // (4 if variant == "constified" else 2)


KNOWN = set(TABLE) | {"Constant", "If", "Shape", "Size", "Loop"}


def test_a_sample_of_the_suite_equals_onnx_runtime():
    check("constified", 7, 120)


@pytest.mark.ci
@pytest.mark.parametrize(("variant", "at_least"), [("constified", 1250), ("plain", 950)])
def test_the_whole_suite_equals_onnx_runtime(variant, at_least):
    check(variant, 1, at_least)
