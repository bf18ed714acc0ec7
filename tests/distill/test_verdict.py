"""ONNX Runtime has the last word on a student."""

from __future__ import annotations

import numpy as np
import pytest
from builders.distill_models import model, pictures, residual, with_cut_blocks

from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.distill.distillation import distill
from onnxcompress.distill.job import Job
from onnxcompress.distill.ops import TABLE
from onnxcompress.distill.settings import Settings
from onnxcompress.graph import clone
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)


def told(findings: list[Finding], code: str) -> dict[str, object]:
    return dict(next(f for f in findings if f.code == code).numbers)


def test_the_figures_are_those_of_the_file():
    teacher, unseen = residual(), pictures(600, seed=9)
    student = with_cut_blocks(teacher, 5)
    started = clone(student)
    settings = Settings(steps=40, batch_size=32, rate=3e-3)
    numbers = told(distill(Job(student, teacher, pictures(400), unseen, settings, ONE)), "DISTILL-TRAINED")
    feeds = unseen.read(range(600))
    wanted = Session(teacher).run(feeds)["logits"].argmax(1)
    for file, name in ((started, "agreement_before"), (student, "agreement_after")):
        assert numbers[name] == pytest.approx((Session(file).run(feeds)["logits"].argmax(1) == wanted).mean())


def test_a_torch_form_that_is_not_the_file_s_cannot_make_a_worse_file(monkeypatch: pytest.MonkeyPatch):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[N, 4] x) => (float[N, 3] y) { a = MatMul (x, w)  r = Softplus (a)  y = MatMul (r, v) }"""
    draw = np.random.default_rng(0)
    weights = {n: draw.normal(size=s).astype(np.float32) for n, s in {"w": (4, 8), "v": (8, 3)}.items()}
    teacher = model(text, weights)
    student = model(text, {**weights, "w": weights["w"] * 1.01})
    before = model_io.to_bytes(student)
    # Trained through the wrong function, the student fits the teacher in torch alone.
    monkeypatch.setitem(TABLE, "Softplus", lambda node, x: -3 * x)  # type: ignore[arg-type]
    data = ArraySource({"x": draw.normal(size=(400, 4)).astype(np.float32)})
    settings = Settings(steps=80, batch_size=32, rate=3e-2, repair=False, close=1.0)
    findings = distill(Job(student, teacher, data, None, settings, ONE))
    assert told(findings, "DISTILL-NO-GAIN")["error_after"] > told(findings, "DISTILL-NO-GAIN")["error_before"]
    assert model_io.to_bytes(student) == before
