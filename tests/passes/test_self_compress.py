"""Self-compression of a small net from beginning to end, and the options that make no sense."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import array, pictures, residual

from onnxcompress import verify
from onnxcompress.cost import costs
from onnxcompress.distill.self_compress import Gap
from onnxcompress.errors import UsageError
from onnxcompress.graph import clone
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.self_compress import SelfCompress
from onnxcompress.passes.self_compressing.workshop import Workshop
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.testing.contexts import context

QUICK: dict[str, Any] = {"stage_steps": 8, "batch_size": 32, "lr": "0.003"}


def run(model: ir.Model, **options: Any) -> list[Finding]:
    pytest.importorskip("torch")
    ctx = context(model, data=pictures(100))
    return list(SelfCompress(**{**QUICK, **options}).run(model, ctx))


def test_it_comes_to_the_target_in_stages_and_the_result_is_sound():
    teacher = residual()
    model, whole = clone(teacher), costs(teacher).macs
    findings = run(model, target_macs="0.5x", stage_cut=0.25, max_gap=0.5, rewind=0.1)
    assert findings[-1].code == "SELF-COMPRESS-DONE"
    assert costs(model).macs <= 0.5 * whole
    stages = [f.numbers for f in findings if f.code == "SELF-COMPRESS-STAGE"]
    assert len(stages) == 3
    assert [s["cost"] for s in stages] == sorted((s["cost"] for s in stages), reverse=True)
    assert not verify.check_structure(model)
    unseen = pictures(100, seed=7)
    feeds = unseen.read(range(100))
    mine, theirs = (Session(m).run(feeds)["logits"] for m in (model, teacher))
    assert (mine.argmax(1) == theirs.argmax(1)).mean() > 0.6


def test_progress_says_the_width_and_the_gap_that_it_is_at():
    pytest.importorskip("torch")
    told: list[str] = []
    ctx = replace(context(residual(), data=pictures(100)), progress=lambda step, done, total: told.append(step))
    list(SelfCompress(**QUICK, target_macs="0.5x", stage_cut=0.25, max_gap=0.5).run(residual(), ctx))
    parts = [re.fullmatch(r"self-compress, ([^(]+) \((\d\.\d\dx), gap \d+\.\d%(.*)\)", text) for text in told]
    assert all(parts)
    assert len({part[2] for part in parts if part}) >= 3
    assert any(part[1] == "distill" and "loss" in part[3] for part in parts if part)


def test_the_record_of_kept_channels_speaks_of_the_first_teacher_after_several_cuts():
    """Without training the weights of a kept channel are the teacher's, so the record can be held against them."""
    teacher = residual(16, 16)
    model = clone(teacher)
    for goal in ("0.8x", "0.7x", "0.7x"):
        codes = [f.code for f in PruneChannels(target_macs=goal, score="l2").run(model, context(model))]
        assert "PRUNE-CUT" in codes
    kept = model.meta["onnxcompress.kept"]
    first = kept["r1"][1]
    assert 0 < len(first) < 16
    entering = kept["r0"][1] if 1 in kept.get("r0", {}) else range(16)
    np.testing.assert_array_equal(array(model, "w1"), array(teacher, "w1")[first][:, list(entering)])
    np.testing.assert_array_equal(array(model, "m1"), array(teacher, "m1")[first])


def test_hints_after_several_prunings_use_the_teachers_right_channels():
    pytest.importorskip("torch")
    from onnxcompress.distill.taps import match

    teacher = residual(16, 16)
    options = SelfCompress(target_macs="0.3x", reconstruct=False, **QUICK)
    workshop = Workshop(context(teacher, data=pictures(100)), options)
    student = workshop.prune(clone(teacher), 0.8 * costs(teacher).macs)
    assert student is not None
    trained, _ = workshop.train(student, 1.0, share=1.0, repair=True, last=False)
    student = workshop.prune(trained, 0.6 * costs(teacher).macs)
    assert student is not None
    feeds, names = pictures(64, seed=3).read(range(64)), ["block1", "block2", "r1", "r3"]
    mine, theirs = (Session(m, taps=names).run(feeds, names) for m in (student, teacher))
    taps = match(student, names, {n: a.shape for n, a in mine.items()}, {n: a.shape for n, a in theirs.items()})
    assert {t.name for t in taps} == set(names), "every tensor has a view of the teacher"
    cut = [t for t in taps if t.kept]
    assert cut
    for tap in cut:
        ours, right = mine[tap.name], tap.teacher_view(theirs[tap.name])
        own = _correlation(ours, right)
        others = [_correlation(ours, np.roll(right, shift, axis=1)) for shift in range(1, right.shape[1])]
        assert own > max(others) + 0.1, f"{tap.name}: another order of channels fits as well"


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over the channels of the correlation."""
    rows = [(x.ravel(), y.ravel()) for x, y in zip(a.swapaxes(0, 1), b.swapaxes(0, 1), strict=True)]
    return float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in rows if x.std() > 0 and y.std() > 0]))


def test_a_limit_that_cannot_be_held_leaves_the_last_good_student():
    model = residual()
    before = costs(model).macs
    findings = run(model, target_macs="0.05x", stage_cut=0.4, max_gap=0.002, stage_steps=2, rewind=0.1)
    told = findings[-1]
    assert told.code == "SELF-COMPRESS-STOPPED"
    assert told.numbers["stop"] in ("rate", "exhausted")
    assert "limit 0.20%" in told.message
    assert costs(model).macs == before, "the first cut was too much already"


def test_the_gap_is_that_of_onnx_runtime_and_zero_for_the_teacher():
    teacher = residual()
    workshop = Workshop(context(teacher, data=pictures(100)), SelfCompress(target_macs="0.5x"))
    assert workshop.gap(clone(teacher)) == Gap(0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "was not told what to come to"),
        ({"target_macs": "0.5x", "target_params": "0.5x"}, "both targets"),
        ({"target_macs": "half"}, "cannot read --target-macs"),
        ({"target_macs": "0.5x", "max_gap": 0.0}, "option max_gap"),
        ({"target_macs": "0.5x", "stage_cut": 1.0}, "option stage_cut"),
        ({"target_macs": "0.5x", "rewind": 1.5}, "option rewind"),
        ({"target_macs": "0.5x", "lr": "fast"}, "option lr"),
        ({"target_macs": "0.5x", "budget": "soon"}, "no length of time"),
        ({"target_macs": "0.5x", "stage_steps": 0}, "option stage_steps"),
    ],
)
def test_senseless_options_are_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        SelfCompress(**options).check()
    assert says in str(caught.value)
