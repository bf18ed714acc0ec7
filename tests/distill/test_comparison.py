"""What is compared: outputs by kind, block outputs, kept channels; and the loss terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_models import model, residual, with_cut_blocks

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.losses.recipe import automatic, parse_loss
from onnxcompress.distill.losses.soft import soft_targets
from onnxcompress.distill.outputs import Answer, answer_tensors, classify
from onnxcompress.distill.taps import KEPT, candidates, match
from onnxcompress.runtime import Session

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def test_block_outputs_are_taken_behind_their_activation():
    assert candidates(residual()) == ["block1", "block2"]


def test_a_plain_chain_gives_the_ends_of_its_layers():
    text = (
        HEAD
        + """net (float[N, 2] x) => (float[N, 2] y) {
        a = Gemm (x, w)  r = Relu (a)  b = MatMul (r, w)  c = Add (b, k)  y = Gemm (c, w) }"""
    )
    made = model(text, {"w": np.eye(2, dtype=np.float32), "k": np.ones(2, np.float32)})
    assert candidates(made) == ["r", "c", "y"]


def test_cut_tensors_are_compared_on_the_kept_channels_only_where_they_are_recorded():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    feeds = {"x": np.ones((2, 3, 12, 12), np.float32)}
    sizes = Bridge(student).specialise(feeds).sizes
    full = {n: a.shape for n, a in Session(teacher, taps=["r1", "block1"]).run(feeds).items()}
    assert [t.name for t in match(student, ["r1", "block1"], sizes, full)] == ["block1"]
    student.meta[KEPT] = {"r1": {1: [0, 2, 3, 5, 7]}}
    first, second = match(student, ["r1", "block1"], sizes, full)
    assert (first.name, second.name) == ("r1", "block1")
    given = np.arange(16).reshape(2, 8, 1, 1)
    np.testing.assert_array_equal(first.teacher_view(given), given[:, [0, 2, 3, 5, 7]])


@pytest.mark.parametrize(
    ("body", "shape", "kind"),
    [
        ("y = Gemm (x, w)", (8, 3), "logits"),
        ("a = MatMul (x, w)  y = Softmax (a)", (8, 3), "logits"),
        ("a = MatMul (x, w)  y = Sigmoid (a)", (8, 3), "values"),
        ("a = MatMul (x, w)  n = ReduceL2 <axes = [1]> (a)  y = Div (a, n)", (8, 3), "values"),
        ("a = MatMul (x, w)  e = Exp (a)  s = ReduceSum (e, one)  y = Div (e, s)", (8, 3), "probabilities"),
    ],
)
def test_the_kind_of_an_output(body, shape, kind):
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 3)).astype(np.float32)}
    text = HEAD + "net (float[N, 4] x) => (float[N, 3] y) <int64[1] one = {1}> { " + body + " }"
    made = model(text, weights)
    (name,) = answer_tensors(made)
    numbers = Session(made, taps=[name]).run({"x": rng.normal(size=(8, 4)).astype(np.float32)})
    (answer,) = classify(made, {name: numbers[name]})
    assert answer.kind == kind
    assert name == ("a" if "Softmax" in body else "y")


def test_soft_targets_are_those_of_the_paper():
    student, teacher, t = torch.randn(6, 5), torch.randn(6, 5), 4.0
    p = torch.softmax(teacher / t, 1)
    wanted = t**2 * (p * (p.log() - torch.log_softmax(student / t, 1))).sum(1).mean()
    torch.testing.assert_close(soft_targets(student, teacher, Answer("y", "logits", 1), t), wanted)
    both = Answer("y", "probabilities", 1)
    torch.testing.assert_close(soft_targets(student.softmax(1), teacher.softmax(1), both, t), wanted)


def test_the_automatic_loss_follows_the_student():
    assert automatic(quantized=False, reshaped=True, classes=True, taps=9) == {"hints": 0.8, "kl": 0.2}
    assert automatic(quantized=True, reshaped=False, classes=True, taps=9) == {"kl": 1.0}
    assert automatic(quantized=False, reshaped=True, classes=False, taps=9) == {"hints": 0.5, "mse": 0.5}
    assert automatic(quantized=False, reshaped=True, classes=True, taps=0) == {"kl": 1.0}


def test_a_loss_is_written_as_terms_with_weights():
    assert parse_loss("hints:0.8,kl:0.2") == {"hints": 0.8, "kl": 0.2}
    assert parse_loss("kl, ce:2") == {"kl": 1.0, "ce": 2.0}
