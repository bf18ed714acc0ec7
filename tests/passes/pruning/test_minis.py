"""Minis: small graphs, one dependency each, as ONNX text with what a prune at ratio 0.5 must make of them.

The files in `minis` hold one theme each. A mini is a title (``## ...``), a model (names declared in the brackets
without numbers get seeded ones) and one line (``=> ...``) of what holds afterwards, in words separated by spaces:

* ``w0[4,3,3,3]``: the constant w0, or what node `a` reads at index 2 (``a:2[4]``), has this shape; others keep theirs;
* ``f:1={0,4}``: the numbers of a constant;  ``c.group=4``: an attribute;
* ``a!PRUNE-FROZEN-OP``: this producer stays, for this reason; no other does, those of graph outputs apart;
* letters stand for any one number, about which the words at the end say more: ``p+q==4``.

What is written is what is true, whether or not the pass can do it yet; `NOT_YET` lists what it cannot.
"""

from __future__ import annotations

import functools

import numpy as np
import onnx_ir as ir
import pytest
from builders.minis import MINIS, Mini

from onnxcompress import graph, model_io, verify
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.shapes import probe_feeds
from onnxcompress.testing import context

NOT_YET: dict[str, str] = {}
"""Minis that the pass prunes less than it could, and what is missing. They are valid and exact all the same."""

EXPECTED = [pytest.param(m, marks=pytest.mark.xfail(strict=True, reason=NOT_YET[m.title]), id=m.title)
            if m.title in NOT_YET else pytest.param(m, id=m.title) for m in MINIS]  # fmt: skip


def prune(model: ir.Model, ratio: float = 0.5) -> list[Finding]:
    return list(PruneChannels(ratio=ratio).run(model, context(model, verify="full")))


@functools.cache
def pruned(mini: Mini) -> tuple[ir.Model, list[Finding]]:
    """Each mini is pruned once for all tests, which only read it."""
    model = mini.model()
    return model, prune(model)


@pytest.mark.parametrize("mini", MINIS, ids=lambda m: m.title)
def test_the_result_is_valid_exact_and_the_same_each_time(mini: Mini):
    (model, findings), whole, again = pruned(mini), mini.model(), mini.model()
    assert {finding.code for finding in findings} & {"PRUNE-EXACT", "PRUNE-NOTHING"}
    # Float16 rounds at 1e-3; each of the other types is held to what float32 gives.
    most = 1e-2 if "float16" in mini.text else 1e-5
    errors = [f.numbers[key] for f in findings for key in ("error", "permuted") if key in f.numbers]
    assert all(error <= most for error in errors)
    assert not verify.checker_complaint(model)
    verify.check_interface(whole, model)
    pair = [Session(m, optimize=False) for m in (whole, model)]
    for batch in (1, 4):
        feeds = probe_feeds(whole, batch=batch)
        before, after = (session.run(feeds) for session in pair)
        assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}
        assert all(np.isfinite(v).all() for v in after.values())
    prune(again)
    assert model_io.to_bytes(again) == model_io.to_bytes(model)


@pytest.mark.parametrize("mini", MINIS, ids=lambda m: m.title)
def test_ratio_zero_changes_nothing(mini: Mini):
    model = mini.model()
    before = model_io.to_bytes(model)
    prune(model, ratio=0.0)
    assert model_io.to_bytes(model) == before


@pytest.mark.parametrize("mini", EXPECTED)
def test_all_goes_that_can(mini: Mini):
    mini.check(mini.model(), *pruned(mini))


@pytest.mark.ci
@pytest.mark.parametrize("mini", MINIS, ids=lambda m: m.title)
def test_what_was_pruned_can_be_pruned_again(mini: Mini):
    first, second = (graph.clone(pruned(mini)[0]) for _ in range(2))
    prune(first)
    prune(second)
    assert model_io.to_bytes(first) == model_io.to_bytes(second)
    verify.check_structure(first)
    verify.check_interface(mini.model(), first)


def test_every_entry_of_the_list_names_a_mini():
    assert set(NOT_YET) <= {mini.title for mini in MINIS}
    assert len(MINIS) >= 80
    assert all(sum(1 for _ in graph.iter_nodes(mini.model())) < 30 for mini in MINIS)
