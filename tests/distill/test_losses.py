"""Every loss term against its formula in numpy, and a finite gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_models import array, residual, set_weight

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.losses.attention import Attention
from onnxcompress.distill.losses.base import Sample, Term
from onnxcompress.distill.losses.cosine import Cosine
from onnxcompress.distill.losses.detection import Detection, find_parts
from onnxcompress.distill.losses.entropy import Entropy
from onnxcompress.distill.losses.head import HeadNorm, find_heads
from onnxcompress.distill.losses.hints import Hints
from onnxcompress.distill.losses.labels import label_error
from onnxcompress.distill.losses.projection import fitted, pooled
from onnxcompress.distill.losses.soft import SoftTargets
from onnxcompress.distill.losses.squares import squared_error
from onnxcompress.distill.losses.standard import Standardised
from onnxcompress.distill.losses.transfer import Transfer
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.taps import Tap
from onnxcompress.errors import UsageError
from onnxcompress.graph import clone


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sample(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray | None = None) -> Sample:
    ids = None if labels is None else torch.from_numpy(labels)
    return Sample({"y": torch.from_numpy(student)}, {"y": torch.from_numpy(teacher)}, ids)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def kl(t: np.ndarray, s: np.ndarray, axis: int) -> float:
    p, q = softmax(t, axis), softmax(s, axis)
    return float((p * (np.log(p) - np.log(q))).sum(axis).mean())


def check(term: Term, given: Sample, wanted: float) -> None:
    """The value is `wanted`, and the gradient reaches student and learned parameters, finite and not zero."""
    student = {n: t.clone().requires_grad_() for n, t in given.student.items()}
    value = term.value(Sample(student, given.teacher, given.labels))
    assert float(value.detach()) == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    value.backward()
    for tensor in [*(student[n] for n in term.tensors), *term.parameters()]:
        assert tensor.grad is not None
        assert bool(torch.isfinite(tensor.grad).all())
    assert any(float(student[n].grad.abs().max()) > 0 for n in term.tensors)


@pytest.mark.parametrize(("shape", "axis"), [((6, 5), 1), ((2, 5, 3, 4), 1), ((2, 3, 5), 2)])
def test_soft_targets_and_standardised_logits_run_along_the_class_axis(shape, axis):
    s, t = numbers(*shape), numbers(*shape, seed=1) * 3
    answers = (Answer("y", "logits", axis),)
    check(SoftTargets(answers, {}, 2.0), sample(s, t), 4 * kl(t / 2, s / 2, axis))
    z = [(x - x.mean(axis, keepdims=True)) / x.std(axis, ddof=1, keepdims=True) for x in (s, t)]
    check(Standardised(answers, 2.0), sample(s, t), 4 * kl(z[1] / 2, z[0] / 2, axis))


def test_standardised_logits_do_not_see_the_teachers_scale():
    s = numbers(6, 5)
    term = Standardised((Answer("y", "logits", 1),))
    assert float(term.value(sample(s, 7 * s + 3))) == pytest.approx(0, abs=1e-5)


def test_a_student_of_logits_follows_a_teacher_of_probabilities():
    s, t = numbers(6, 5), numbers(6, 5, seed=1)
    answer = Answer("y", "logits", 1, theirs="probabilities")
    check(SoftTargets((answer,), {}, 1.0), sample(s, softmax(t, 1)), kl(t, s, 1))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_squared_errors_have_the_value_and_gradients_of_the_formula(kind: torch.dtype):
    torch.manual_seed(0)
    student, teacher = (torch.randn(7, 5, 3, dtype=kind, requires_grad=True) for _ in range(2))
    found = torch.autograd.grad(0.3 * squared_error(student, teacher, 0.37), (student, teacher))
    wanted = torch.autograd.grad(0.3 * ((student - teacher).square().mean() / 0.37), (student, teacher))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert torch.autograd.gradcheck(lambda s, t: squared_error(s, t, 0.37), (student.double(), teacher.double()))


@pytest.mark.parametrize(("channel", "mine", "theirs"), [(1, (2, 3, 4, 4), (2, 7, 4, 4)), (2, (2, 6, 3), (2, 6, 5))])
def test_attention_compares_maps_of_any_channel_count(channel, mine, theirs):
    s, t = numbers(*mine), numbers(*theirs, seed=1)
    maps = [(f**2).mean(channel).reshape(2, -1) for f in (s, t)]
    maps = [q / np.linalg.norm(q, axis=1, keepdims=True) for q in maps]
    check(Attention((Tap("y", channel=channel),)), sample(s, t), float(((maps[0] - maps[1]) ** 2).mean()))


def test_attention_averages_larger_maps_down():
    s, t = numbers(2, 3, 2, 2), numbers(2, 5, 4, 4, seed=1)
    maps = [(s**2).mean(1), (t**2).mean(1).reshape(2, 2, 2, 2, 2).mean((2, 4))]
    maps = [q.reshape(2, -1) / np.linalg.norm(q.reshape(2, -1), axis=1, keepdims=True) for q in maps]
    check(Attention((Tap("y"),)), sample(s, t), float(((maps[0] - maps[1]) ** 2).mean()))


@pytest.mark.parametrize(("shape", "axis"), [((6, 5), 1), ((2, 4, 5), 2), ((2, 5, 3, 3), 1)])
def test_cosine_of_embeddings(shape, axis):
    s, t = numbers(*shape), numbers(*shape, seed=1)
    norms = np.linalg.norm(s, axis=axis) * np.linalg.norm(t, axis=axis)
    check(Cosine((Answer("y", "values"),)), sample(s, t), float(1 - ((s * t).sum(axis) / norms).mean()))


@pytest.mark.parametrize("axis", [1, 3])
def test_hints_through_a_projection_start_at_least_squares(axis):
    mine, theirs = [2, 4, 4, 3], [2, 4, 4, 5]
    s, t = (np.moveaxis(numbers(*size, seed=i), -1, axis) for i, size in enumerate((mine, theirs)))
    term = Hints((Tap("y", channel=axis, projected=True),), {"y": 2.0})
    given = sample(np.ascontiguousarray(s), np.ascontiguousarray(t))
    term.prepare([given])
    x, y = (np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]) for a in (s, t))
    x = np.c_[x, np.ones(len(x))]
    best = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    check(term, given, float((best**2).mean()) / 2)
    assert sorted(p.shape for p in term.parameters()) == [(5,), (5, 3)]


def test_a_projection_finds_a_linear_map_again():
    x, w, b = numbers(200, 4), numbers(6, 4, seed=1), numbers(6, seed=2)
    made = fitted(torch.from_numpy(x), torch.from_numpy(x @ w.T + b))
    np.testing.assert_allclose(made.weight.detach(), w, atol=1e-2)
    np.testing.assert_allclose(made.bias.detach(), b, atol=1e-2)


def test_only_pictures_are_averaged_down():
    tokens = torch.ones(2, 6, 5)
    assert pooled(tokens, 2, torch.Size((2, 3, 5))) is tokens
    assert pooled(torch.ones(2, 3, 8), 1, torch.Size((2, 9, 4))).shape == (2, 3, 4)


def test_entropy_of_the_student_lies_between_0_and_1():
    s = numbers(6, 5)
    p = softmax(s, 1)
    term = Entropy((Answer("y", "logits", 1),))
    check(term, sample(s, s), float(-(p * np.log(p)).sum(1).mean() / np.log(5)))
    assert float(term.value(sample(np.zeros((2, 5), np.float32), s))) == pytest.approx(1.0)


class TestMatrix:
    """The learned matrix W_T."""

    def test_starts_at_the_identity_where_sizes_agree(self):
        s, t = numbers(50, 5), numbers(50, 5, seed=1)
        term = Transfer((Answer("y", "logits", 1),), {}, 2.0)
        term.prepare([sample(s, t)])
        check(term, sample(s, t), 4 * kl(t / 2, s / 2, 1))
        assert [p.shape for p in term.parameters()] == [(5, 5), (5,)]

    def test_maps_as_its_parameters_say_with_the_spread_of_the_start(self):
        s, t = numbers(80, 3), numbers(80, 6, seed=1)
        term = Transfer((Answer("y", "logits", 1, foreign=True),), {}, 1.0)
        term.prepare([sample(s, t)])
        spread = np.cov(t.T)
        weight, bias = (p.detach().numpy().astype(np.float64) for p in term.parameters())
        check(term, sample(s, t), kl(t @ weight.T + bias, s, 1))
        with torch.no_grad():
            term.parameters()[0].mul_(0.01)
        check(term, sample(s, t), kl(t @ weight.T + bias, s, 1))
        assert np.sqrt(np.einsum("ij,jk,ik->i", weight, spread, weight)).mean() == pytest.approx(
            t.std(0).mean(), rel=0.3
        )

    def test_labels_tell_what_a_class_is(self):
        """Ten classes of the teacher, of which the student has the parity."""
        rng = np.random.default_rng(0)
        ids = rng.integers(0, 10, 400)
        t = (np.eye(10)[ids] * 6 + rng.normal(size=(400, 10))).astype(np.float32)
        term = Transfer((Answer("y", "logits", 1, foreign=True),), {}, 1.0)
        term.prepare([sample(numbers(400, 2), t, ids % 2)])
        target = term.matrices["y"](torch.from_numpy(t), 1)
        assert float((target.argmax(1).numpy() == ids % 2).mean()) > 0.97

    def test_a_student_keeps_its_classes_without_labels(self):
        t = numbers(300, 6)
        s = (t @ numbers(6, 3, seed=2)).astype(np.float32)
        term = Transfer((Answer("y", "logits", 1, foreign=True),), {}, 1.0)
        term.prepare([sample(s, t)])
        target = term.matrices["y"](torch.from_numpy(t), 1).detach().numpy()
        assert (target.argmax(1) == s.argmax(1)).mean() > 0.9

    def test_a_student_that_answers_nothing_gets_orthogonal_rows(self):
        term = Transfer((Answer("y", "logits", 1, foreign=True),), {}, 1.0)
        term.prepare([sample(np.zeros((50, 3), np.float32), numbers(50, 6))])
        weight = term.parameters()[0].detach().numpy()
        np.testing.assert_allclose(weight @ weight.T, np.eye(3), atol=1e-5)

    def test_values_are_mapped_too(self):
        s, t = numbers(60, 3), numbers(60, 6, seed=1)
        term = Transfer((Answer("y", "values", 1, foreign=True),), {"y": 2.0})
        term.prepare([sample(s, t)])
        weight, bias = (p.detach().numpy() for p in term.parameters())
        check(term, sample(s, t), float(((s - t @ weight.T - bias) ** 2).mean() / 2))

    def test_a_matrix_of_two_vocabularies_is_refused(self):
        given = Sample({"y": torch.zeros(1, 1).expand(1, 9000)}, {"y": torch.zeros(1, 1).expand(1, 9000)})
        with pytest.raises(UsageError, match="wt cannot be used"):
            Transfer((Answer("y", "logits", 1),), {}).prepare([given])


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_labels_to_pass_over_count_as_nothing_and_parts_add_up(kind: str):
    given, labels = torch.from_numpy(softmax(numbers(6, 4), 1)), torch.tensor([0, -100, 3, -100, -100, 1])
    answer = Answer("y", kind, 1)
    whole = label_error(given, labels, answer)
    parts = [label_error(given[a:b], labels[a:b], answer) * (b - a) / 6 for a, b in ((0, 3), (3, 5), (5, 6))]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
    given.requires_grad_(True)
    nothing = label_error(given, torch.full((6,), -100), answer)
    assert float(nothing.detach()) == 0
    assert bool(torch.autograd.grad(nothing, given)[0].isfinite().all())


class TestDetection:
    """Scores and boxes before suppression."""

    def test_parts_of_a_batch_add_up(self):
        s, t = self.heads(0), self.heads(1)
        term = Detection(find_parts((Answer("y", "values"),), {"y": t}))
        whole = term.value(sample(s, t))
        torch.testing.assert_close(sum(term.value(sample(s[i : i + 1], t[i : i + 1])) for i in (0, 1)) / 2, whole)

    def heads(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.concatenate([rng.normal(size=(2, 8, 4)) * 20, rng.uniform(size=(2, 8, 3))], 2).astype(np.float32)

    @pytest.mark.parametrize("turned", [False, True])
    def test_one_output_of_boxes_and_scores(self, turned):
        s, t = self.heads(0), self.heads(1)
        p, q = s[..., 4:], t[..., 4:]
        bce = -(q * np.log(p) + (1 - q) * np.log(1 - p)) + q * np.log(q) + (1 - q) * np.log(1 - q)
        away = np.abs(s[..., :4] - t[..., :4]) / np.sqrt((t[..., :4] ** 2).mean())
        smooth = np.where(away < 1, away**2 / 2, away - 0.5).mean(2)
        weight = q.max(2)
        wanted = bce.mean() + (weight * smooth).sum() / weight.sum()
        if turned:
            s, t = (np.ascontiguousarray(x.transpose(0, 2, 1)) for x in (s, t))
        parts = find_parts((Answer("y", "values"),), {"y": t})
        assert {p.kind: p.columns for p in parts} == {"boxes": (0, 1, 2, 3), "scores": (4, 5, 6)}
        check(Detection(parts), sample(s, t), float(wanted))

    def test_boxes_and_softmax_scores_in_outputs_of_their_own(self):
        boxes, logits = numbers(2, 8, 4) * 5, numbers(2, 8, 3, seed=1)
        logits[..., 2] += 4
        answers = (Answer("y", "values"), Answer("c", "logits", 2))
        parts = find_parts(answers, {"y": boxes, "c": logits})
        assert [(p.kind, p.background) for p in parts] == [("boxes", 0), ("classes", 2)]
        s = numbers(2, 8, 4, seed=2)
        given = Sample(
            {"y": torch.from_numpy(s), "c": torch.from_numpy(logits)},
            {"y": torch.from_numpy(boxes), "c": torch.from_numpy(logits)},
        )
        away = np.abs(s - boxes) / np.sqrt((boxes**2).mean())
        smooth = np.where(away < 1, away**2 / 2, away - 0.5).mean(2)
        weight = 1 - softmax(logits, 2)[..., 2]
        check(Detection(parts), given, float((weight * smooth).sum() / weight.sum()))

    def test_a_side_of_a_box_between_0_and_1_is_no_score(self):
        boxes = numbers(2, 8, 4) * 5
        boxes[..., 3] = 0.5
        parts = find_parts((Answer("y", "values"), Answer("c", "values")), {"y": boxes, "c": np.full((2, 8, 1), 0.5)})
        assert [(p.answer.name, p.kind, len(p.columns)) for p in parts] == [("y", "boxes", 4), ("c", "scores", 1)]

    def test_outputs_without_scores_are_no_detector(self):
        assert find_parts((Answer("y", "values"),), {"y": numbers(2, 8, 4)}) == ()
        assert find_parts((Answer("y", "logits", 1),), {"y": numbers(2, 8)}) == ()


class TestHeadNorm:
    """The length of the last layer's vectors."""

    def test_it_is_held_to_the_teachers(self):
        teacher = residual()
        student = clone(teacher)
        set_weight(student, "wf", array(student, "wf") * 1.5)
        bridge = Bridge(student)
        (head,) = find_heads(bridge, teacher, ["logits"])
        term = HeadNorm(bridge, (head,))
        value = term.value(Sample({}, {}))
        assert float(value.detach()) == pytest.approx(0.25, rel=1e-4)
        value.backward()
        grads = {w.name: p.grad for w, p in bridge.trainable() if p.grad is not None}
        assert list(grads) == ["wf"]
        assert bool(torch.isfinite(grads["wf"]).all())

    def test_without_a_like_teacher_it_counts_from_the_start(self):
        teacher = residual()
        set_weight(teacher, "wf", np.ones((7, 8), np.float32))
        bridge = Bridge(residual())
        (head,) = find_heads(bridge, teacher, ["logits"])
        assert float(HeadNorm(bridge, (head,)).value(Sample({}, {})).detach()) == pytest.approx(1.0)

    def test_an_output_without_a_linear_layer_has_no_head(self):
        assert find_heads(Bridge(residual()), residual(), ["pooled_none", "block1"]) == ()
