"""Which of two students is closer to the teacher, and when one is close enough."""

from __future__ import annotations

import numpy as np
import pytest
from builders.distill_models import model

from onnxcompress.data import ArraySource
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.measure import Closeness, Examiner
from onnxcompress.distill.outputs import Answer
from onnxcompress.distill.settings import Settings
from onnxcompress.distill.teacher import Teacher
from onnxcompress.runtime_options import RuntimeOptions


@pytest.mark.parametrize(
    ("mine", "other", "better"),
    [
        ((0.95, 0.20, 1000), (0.90, 0.10, 1000), True),  # five points of agreement are no luck
        ((0.90, 0.10, 1000), (0.95, 0.20, 1000), False),
        ((0.900, 0.10, 1000), (0.905, 0.20, 1000), True),  # half a point is: the error decides
        ((0.905, 0.20, 1000), (0.900, 0.10, 1000), False),
        ((0.905, 0.10, 1000), (0.905, 0.10, 1000), False),  # equal is not better
        ((0.99, 0.20, 50), (0.50, 0.10, 50), False),  # too few positions: the error alone
        ((None, 0.10, 0), (None, 0.20, 0), True),
        ((None, 0.20, 0), (None, 0.10, 0), False),
        ((1.0, float("nan"), 1000), (0.1, 1.0, 1000), False),
    ],
)
def test_agreement_decides_where_it_says_something(
    mine: tuple[float | None, float, int], other: tuple[float | None, float, int], better: bool
):
    assert Closeness(*mine).better_than(Closeness(*other)) is better


@pytest.mark.parametrize(
    ("measured", "share", "close"),
    [
        ((1.0, 0.0, 1000), 0.995, True),
        ((1.0, 0.01, 100), 0.995, False),  # a hundred equal answers do not show it
        ((1.0, 0.0004, 100), 0.995, True),  # with almost the same probabilities they do
        ((0.996, 0.01, 1000), 0.995, False),
        ((0.999, 0.01, 10000), 0.995, True),
        ((1.0, 0.0, 10**9), 1.0, False),
        ((None, 1e-5, 0), 0.995, True),  # a root mean square error of 0.3 %
        ((None, 1e-4, 0), 0.995, False),
        ((1.0, float("nan"), 1000), 0.9, False),
    ],
)
def test_close_is_more_than_luck(measured: tuple[float | None, float, int], share: float, close: bool):
    assert Closeness(*measured).close(share) is close


FIXED = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[7, 6] x) => (float[7, 3] y) {
    h = MatMul (x, w)
    r = Relu (h)
    y = MatMul (r, v)
}
"""


def fixed_batch(noise: float):
    draw = np.random.default_rng(0)
    w, v = draw.normal(size=(6, 8)), draw.normal(size=(8, 3))
    other = np.random.default_rng(1)
    arrays = {"w": w + noise * other.normal(size=w.shape), "v": v + noise * other.normal(size=v.shape)}
    return model(FIXED, {name: array.astype(np.float32) for name, array in arrays.items()})


def samples(count: int, *, labels: bool = False) -> ArraySource:
    draw = np.random.default_rng(2)
    return ArraySource(
        {"x": draw.normal(size=(count, 6)).astype(np.float32)}, draw.integers(0, 3, count) if labels else None
    )


def test_samples_that_fill_a_fixed_batch_do_not_count():
    student, teacher, answers = fixed_batch(0.5), fixed_batch(0.0), [Answer("y", "logits", 1)]
    x = samples(14).read(range(14))["x"]
    x[8:] = x[7]
    measured = [
        Examiner(student, ArraySource({"x": x[:count]}), answers, Teacher(teacher, ["y"]), {}).measure(Bridge(student))
        for count in (7, 8)
    ]
    assert [m.positions for m in measured] == [7, 8]
    alone = Examiner(student, ArraySource({"x": x[7:8]}), answers, Teacher(teacher, ["y"]), {}).measure(Bridge(student))
    assert alone.positions == 1
    assert measured[1].error == pytest.approx((7 * measured[0].error + alone.error) / 8, rel=1e-5)


def test_labels_as_the_aim_count_what_has_one():
    student, answers = fixed_batch(0.0), [Answer("y", "logits", 1)]
    x = samples(14).read(range(14))["x"]
    logits = Teacher(student, ["y"]).arrays({"x": x[:7]})["y"], Teacher(student, ["y"]).arrays({"x": x[7:]})["y"]
    classes = np.concatenate(logits).argmax(1)
    classes[0], classes[7:] = (classes[0] + 1) % 3, -100
    data = ArraySource({"x": x}, classes)
    measured = Examiner(student, data, answers, Teacher(student, ["y"]), {}, labels=True).measure(Bridge(student))
    assert (measured.agreement, measured.positions) == (pytest.approx(6 / 7), 7)
    assert measured.finite


def test_labels_train_a_student_of_fixed_batch_size():
    student, teacher = fixed_batch(0.5), fixed_batch(0.0)
    settings = Settings(steps=5, rate=1e-3, loss="kl:0.5,ce:0.5", close=1.0, teacher_rate=1.0)
    job = Job(student, teacher, samples(100, labels=True), None, settings, RuntimeOptions(threads=1))
    assert {f.code for f in distill(job)} & {"DISTILL-TRAINED", "DISTILL-NO-GAIN"}
