"""What is compared: outputs by kind, block outputs, kept channels; and the loss terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from builders.distill_models import model, residual, with_cut_blocks

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.losses.recipe import Offer, automatic, balanced, parse_loss, parse_temperatures, usable
from onnxcompress.distill.losses.soft import soft_targets
from onnxcompress.distill.outputs import Answer, answer_tensors, classify
from onnxcompress.distill.taps import KEPT, candidates, match
from onnxcompress.errors import UsageError
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


PLANES = {"w": np.random.default_rng(0).normal(size=(5, 3, 1, 1)).astype(np.float32)}


@pytest.mark.parametrize(
    ("body", "kind", "axis"),
    [
        ("y = Conv (x, w)", "logits", 1),
        ("a = Conv (x, w)  y = Resize (a, , one)", "logits", 1),
        (
            "h = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)  a = Conv (h, w)  y = Resize (a, , two)",
            "logits",
            1,
        ),
        ("h = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)  y = Conv (h, w)", "values", -1),
        ("a = Conv (x, w)  y = Sigmoid (a)", "values", -1),
        ("a = Conv (x, w)  y = LogSoftmax <axis = 1> (a)", "logits", 1),
        ("a = Conv (x, w)  y = Softmax <axis = 1> (a)", "logits", 1),
        ("a = Conv (x, w)  y = ArgMax <axis = 1, keepdims = 0> (a)", "logits", 1),
    ],
)
def test_classes_of_pixels_lie_along_axis_1(body, kind, axis):
    result = "int64[N, 4, 4] y" if "ArgMax" in body else "float[N, 5, H, W] y"
    weights = "<float[4] one = {1, 1, 1, 1}, float[4] two = {1, 1, 2, 2}>"
    made = model(HEAD + f"net (float[N, 3, 4, 4] x) => ({result}) {weights} {{ {body} }}", PLANES)
    (name,) = answer_tensors(made)
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)}
    (answer,) = classify(made, Session(made, taps=[name]).run(feeds, [name]), feeds)
    assert (answer.kind, answer.axis) == (kind, axis)


def test_a_picture_for_a_picture_is_no_choice_of_classes():
    made = model(
        HEAD + "net (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y) { y = Conv (x, w) }", {"w": PLANES["w"][:3]}
    )
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)}
    assert classify(made, Session(made).run(feeds), feeds)[0].kind == "values"


@pytest.mark.parametrize(("words", "kind"), [(7, "logits"), (6, "values")])
def test_tokens_are_classes_where_the_last_axis_counts_words(words, kind):
    text = HEAD + f"net (int64[N, L] x) => (float[N, L, {words}] y) {{ e = Gather (t, x)  y = MatMul (e, w) }}"
    rng = np.random.default_rng(0)
    weights = {"t": rng.normal(size=(7, 4)).astype(np.float32), "w": rng.normal(size=(4, words)).astype(np.float32)}
    made, feeds = model(text, weights), {"x": rng.integers(0, 7, (2, 5))}
    (answer,) = classify(made, Session(made).run(feeds), feeds)
    assert (answer.kind, answer.axis) == (kind, 2 if kind == "logits" else -1)


LINEAR = HEAD + "net (float[N, 6] x) => (float[N, 4] {OUT}) { {OUT} = Gemm (x, w, b) }"


def answer(scale: float, shift: float, out: str = "y", **known: Any) -> Answer:
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(6, 4)) * scale, "b": np.array([0, 0, 0, shift])}
    made = model(LINEAR.replace("{OUT}", out), {n: a.astype(np.float32) for n, a in weights.items()})
    feeds = {"x": rng.normal(size=(known.pop("rows", 64), 6)).astype(np.float32)}
    (found,) = classify(made, Session(made).run(feeds), feeds, **known)
    return found


@pytest.mark.parametrize(("scale", "shift"), [(0.1, 0.0), (1.0, 50.0)], ids=["undecided", "one class"])
def test_a_row_whose_numbers_say_no_class_holds_values(scale: float, shift: float) -> None:
    assert (answer(scale, shift).kind, answer(scale, shift).guessed) == ("values", True)
    assert not answer(scale, shift, kinds={"y": "values"}).guessed
    for known in ({"kinds": {"y": "classes"}}, {"labels": True}, {"out": "logits"}, {"rows": 8}):
        assert answer(scale, shift, **known).kind == "logits"


def test_a_row_that_is_sure_of_its_classes_holds_classes_unless_the_user_knows_better() -> None:
    assert answer(3.0, 0.0).kind == "logits"
    assert answer(3.0, 0.0, kinds={"y": "values"}) == Answer("y", "values")


@pytest.mark.parametrize(("opset", "axis"), [(9, 1), (12, 1), (13, 3)])
def test_a_softmax_of_an_old_opset_reads_from_axis_1(opset: int, axis: int) -> None:
    text = f"""<ir_version: 7, opset_import: ["" : {opset}]>
    net (float[N, 3, 4, 4] x) => (float[N, 5, 1, 1] y) {{
        c = Conv (x, w)  p = GlobalAveragePool (c)  y = Softmax (p) }}"""
    made = model(text, PLANES)
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)}
    (found,) = classify(made, Session(made, taps=["p"]).run(feeds, ["p"]), feeds)
    assert (found.kind, found.axis) == (("logits", 1) if axis == 1 else ("values", -1))


def test_soft_targets_are_those_of_the_paper():
    student, teacher, t = torch.randn(6, 5), torch.randn(6, 5), 4.0
    p = torch.softmax(teacher / t, 1)
    wanted = t**2 * (p * (p.log() - torch.log_softmax(student / t, 1))).sum(1).mean()
    torch.testing.assert_close(soft_targets(student, teacher, Answer("y", "logits", 1), t), wanted)
    both = Answer("y", "probabilities", 1)
    torch.testing.assert_close(soft_targets(student.softmax(1), teacher.softmax(1), both, t), wanted)


def test_the_automatic_loss_follows_the_student():
    assert automatic(Offer(reshaped=True, taps=9)) == {"hints": 0.8, "kl": 0.2}
    assert automatic(Offer(quantized=True, taps=9)) == {"kl": 1.0}
    assert automatic(Offer(reshaped=True, classes=False, taps=9)) == {"hints": 0.5, "mse": 0.5}
    assert automatic(Offer(reshaped=True)) == {"kl": 1.0}
    assert automatic(Offer(foreign=True)) == {"wt": 1.0}
    assert automatic(Offer(foreign=True, taps=9)) == {"hints": 0.5, "wt": 0.5}
    assert automatic(Offer(foreign=True, labels=True)) == {"wt": 0.5, "ce": 0.5}


def test_a_loss_is_written_as_terms_with_weights():
    assert parse_loss("hints:0.8,kl:0.2") == {"hints": 0.8, "kl": 0.2}
    assert parse_loss("kl, ce:2") == {"kl": 1.0, "ce": 2.0}
    assert parse_loss("std:2@T=1.5,kl@T=3") == {"std": 2.0, "kl": 1.0}
    assert parse_temperatures("std:2@T=1.5,kl@T=3,mse") == {"std": 1.5, "kl": 3.0}
    assert parse_temperatures("auto") == {}


@pytest.mark.parametrize("wrong", ["", "kl:", "magic", "kl:0", "kl:nan", "kl@T=", "kl@T=0", "kl@2", "entropy", "kl,,"])
def test_a_loss_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError, match="unknown loss"):
        parse_loss(wrong)


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("hints", Offer()),
        ("at", Offer(taps=3)),
        ("kl", Offer(classes=False)),
        ("std", Offer(classes=False)),
        ("ce", Offer()),
        ("det", Offer()),
        ("kl", Offer(foreign=True)),
        ("mse", Offer(foreign=True)),
    ],
)
def test_a_term_that_the_pair_does_not_offer_is_refused(name, offer):
    with pytest.raises(UsageError, match=f"the loss {name} cannot be used") as caught:
        usable({name: 1.0}, offer)
    assert caught.value.hint


def test_alpha_weighs_the_teacher_against_labels():
    offer, plain = Offer(labels=True), {"beta": 0.0, "head_norm": 0.0}
    assert balanced({"hints": 3.0, "kl": 1.0}, offer, alpha=0.8, **plain) == pytest.approx(
        {"hints": 0.6, "kl": 0.2, "ce": 0.2}
    )
    assert balanced({"kl": 1.0, "ce": 5.0}, offer, alpha=0.5, **plain) == {"kl": 0.5, "ce": 0.5}
    assert balanced({"kl": 1.0}, offer, alpha=0.0, **plain) == {"ce": 1.0}
    assert balanced({"kl": 2.0}, Offer(), alpha=1.0, **plain) == {"kl": 1.0}
    assert balanced({"kl": 2.0}, Offer(), alpha=None, beta=0.1, head_norm=0.2) == {
        "kl": 2.0,
        "entropy": 0.1,
        "head-norm": 0.2,
    }
    with pytest.raises(UsageError, match="ce cannot be used"):
        balanced({"kl": 1.0}, Offer(), alpha=0.5, **plain)
    with pytest.raises(UsageError, match="no entropy") as caught:
        balanced({"mse": 1.0}, Offer(classes=False), alpha=None, beta=0.1, head_norm=0.0)
    assert caught.value.where == "option beta"
