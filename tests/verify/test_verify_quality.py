from __future__ import annotations

import json

import numpy as np
import pytest
from builders.runtime_models import detector, linear, normal, parsed

from onnxcompress.data import ArraySource
from onnxcompress.errors import DataError, GateError, ModelError, UsageError
from onnxcompress.measurement import hold
from onnxcompress.report import PassRecord, Report
from onnxcompress.runtime import Session
from onnxcompress.verify import Gate, class_output, compare


def changed(model, amount, seed=9):
    value = model.graph.initializers["w"]
    array = value.const_value.numpy()
    return parsed(
        "g (float[N,4] x, float[4,3] w) => (float[N,3] logits) { logits = MatMul(x, w) }",
        w=array + amount * normal(*array.shape, seed=seed),
    )


X = normal(100, 4, seed=5)


def test_a_model_equals_itself():
    found = compare(linear(), linear(), ArraySource({"x": X}))
    assert (found.samples, found.max_abs, found.top1_agreement) == (100, 0.0, 1.0)
    assert found.accuracy_reference is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_agreement_and_distances_match_numpy():
    other = changed(linear(), 0.3)
    found = compare(linear(), other, ArraySource({"x": X}), batch=7)
    a, b = (Session(model).run({"x": X})["logits"] for model in (linear(), other))
    assert found.class_output == "logits"
    assert found.top1_agreement == np.mean(a.argmax(1) == b.argmax(1))
    assert found.outputs["logits"].relative_l2 == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), rel=1e-4)
    low, high = found.agreement_interval
    assert low < found.top1_agreement < high


def test_accuracy_is_paired_and_comes_from_the_sources_labels():
    labels = Session(linear()).run({"x": X})["logits"].argmax(1)
    labels[:10] = (labels[:10] + 1) % 3
    other = changed(linear(), 0.3)
    found = compare(linear(), other, ArraySource({"x": X}, labels))
    right = Session(other).run({"x": X})["logits"].argmax(1) == labels
    assert found.accuracy_reference == pytest.approx(0.9)
    assert found.accuracy_candidate == right.mean()
    low, high = found.accuracy_interval
    assert low < found.accuracy_candidate - found.accuracy_reference < high
    assert found.to_dict()["interval"] == [low, high]


def test_the_users_metric_sees_all_outputs_and_labels():
    labels = np.arange(100) % 3
    seen = []

    def metric(outputs, given):
        seen.append((outputs["logits"].shape, given.shape))
        return float(np.mean(outputs["logits"].argmax(1) == given))

    found = compare(linear(), changed(linear(), 1.0), ArraySource({"x": X}, labels), metric=metric)
    assert seen[0] == ((100, 3), (100,))
    assert found.metric_reference == found.accuracy_reference
    assert found.metric_interval[0] <= found.metric_candidate - found.metric_reference <= found.metric_interval[1]


def test_a_metric_without_labels_or_without_a_number_is_refused():
    with pytest.raises(DataError, match="no labels"):
        compare(linear(), linear(), ArraySource({"x": X}), metric=lambda outputs, labels: 1.0)
    with pytest.raises(DataError, match="nan"):
        compare(linear(), linear(), ArraySource({"x": X}, np.arange(100)), metric=lambda outputs, labels: float("nan"))


def test_class_ids_and_second_outputs():
    text = "g (float[N,4] x, float[2,N,3] h) => (float[2,N,3] state, int64[N] ids)"
    model = parsed(f"{text} {{ state = Neg(h) ids = ArgMax<axis=1, keepdims=0>(x) }}")
    found = compare(model, model, ArraySource({"x": X, "h": normal(100, 2, 3)}, X.argmax(1)))
    assert (found.class_output, found.accuracy_reference) == ("ids", 1.0)


def test_an_embedding_names_no_class():
    model = parsed("g (float[N,4] x) => (float[N,4] y) { y = LpNormalization<axis=1, p=2>(x) }")
    for labels in (None, np.zeros(len(X), np.int64)):
        found = compare(model, model, ArraySource({"x": X}, labels))
        assert found.top1_agreement is None
        assert found.accuracy_candidate is None
    assert class_output(model) == ""
    assert class_output(linear()) == "logits"


def test_feeds_of_one_run_will_do():
    assert compare(linear(), linear(), {"x": X}).samples == 100


def test_models_that_cannot_be_compared_are_refused():
    other = parsed("g (float[N,4] x) => (float[N,4] y) { y = Neg(x) }")
    with pytest.raises(ModelError, match="no output name in common"):
        compare(linear(), other, {"x": X})
    wide = parsed("g (float[N,4] x) => (float[N,4] logits) { logits = Neg(x) }")
    with pytest.raises(ModelError, match="became"):
        compare(linear(), wide, {"x": X})


def test_a_plugin_is_compared_at_its_inputs():
    found = compare(detector(), detector(), ArraySource({"x": normal(4, 3, 8, 8)}))
    assert set(found.outputs) == {"features", "scores"}
    assert [finding.code for finding in found.findings] == ["RUNTIME-UNKNOWN-OP"]


@pytest.mark.parametrize("text", ["1", "one point", "-1pt", "1 dB", ""])
def test_limits_that_cannot_be_read_are_refused(text):
    with pytest.raises(UsageError, match="--max-drop"):
        Gate(max_drop=text)


@pytest.mark.parametrize(("text", "needed"), [("0.5pt", 200), ("1pt", 100), ("1%", 100), ("3pt", 34)])
def test_a_gate_that_the_samples_cannot_resolve_is_refused_with_the_number(text, needed):
    labels = np.zeros(1000, np.int64)
    source = ArraySource({"x": normal(1000, 4)}, labels)
    Gate(max_drop=text).check_resolution(source.subset(range(needed)), linear())
    with pytest.raises(UsageError, match=f"at least {needed} samples"):
        Gate(max_drop=text).check_resolution(source.subset(range(needed - 1)), linear())


def test_a_metric_that_says_what_it_counts_is_held_to_that_number():
    def sensitivity(outputs, labels):
        return 0.0

    sensitivity.counted = lambda labels: int((labels == 1).sum())
    labels = np.zeros(1000, np.int64)
    labels[:200] = 1
    source, gate = ArraySource({"x": normal(1000, 4)}, labels), Gate(max_drop="0.5pt")
    gate.check_resolution(source, linear(), metric=sensitivity)
    gate.check_resolution(ArraySource({"x": X}), linear(), metric=sensitivity)
    with pytest.raises(UsageError, match=r"one of 199 samples that the metric counts weighs 0.503pt") as caught:
        gate.check_resolution(source.subset(range(1, 1000)), linear(), metric=sensitivity)
    assert "at least 200 samples that the metric counts" in str(caught.value)
    with pytest.raises(UsageError, match="there are no samples that the metric counts"):
        gate.check_resolution(source.subset(range(200, 1000)), linear(), metric=sensitivity)


def test_resolution_does_not_matter_where_nothing_is_counted():
    few = ArraySource({"x": X[:2]})
    plain = parsed("g (float[N,4,4] x) => (float[N,4,4] y) { y = Neg(x) }")
    Gate(max_drop="1pt").check_resolution(few, plain)
    Gate(max_drop="1pt").check_resolution(few, linear(), metric=lambda outputs, labels: 0.0)
    Gate(min_sqnr=30).check_resolution(few, linear())
    Gate(max_drop="1pt").check_resolution(None)
    with pytest.raises(UsageError):
        Gate(max_drop="1pt").check_resolution(few, linear())


def test_gates_hold_and_break():
    labels = Session(linear()).run({"x": X})["logits"].argmax(1)
    bad = compare(linear(), changed(linear(), 1.0), ArraySource({"x": X}, labels))
    good = compare(linear(), linear(), ArraySource({"x": X}, labels))
    Gate(max_drop="1pt", min_sqnr=60).check(good)
    with pytest.raises(GateError, match="accuracy lost") as caught:
        Gate(max_drop="1pt").check(bad)
    assert caught.value.exit_code == 5
    with pytest.raises(GateError, match="dB"):
        Gate(min_sqnr=60).check(bad)
    unlabelled = compare(linear(), changed(linear(), 1.0), ArraySource({"x": X}))
    with pytest.raises(GateError, match="top-1 agreement"):
        Gate(max_drop="1pt").check(unlabelled)


def test_other_outputs_are_gated_by_relative_l2():
    text = "g (float[N,4,4] x, float k) => (float[N,4,4] y) { y = Mul(x, k) }"
    first, second = (parsed(text, k=np.array(k, np.float32)) for k in (1.0, 1.02))
    found = compare(first, second, ArraySource({"x": normal(3, 4, 4)}))
    Gate(max_drop="3%").check(found)
    with pytest.raises(GateError, match="relative L2"):
        Gate(max_drop="1%").check(found)


@pytest.mark.parametrize("size", [1, 4])
def test_runs_have_the_size_that_either_model_fixes(size):
    fixed = parsed(
        f"g (float[{size},4] x, float[4,3] w) => (float[{size},3] logits) {{ logits = MatMul(x, w) }}",
        w=linear().graph.initializers["w"].const_value.numpy(),
    )
    for pair in ((linear(), fixed), (fixed, linear())):
        found = compare(*pair, ArraySource({"x": X[:10]}))
        assert (found.samples, found.top1_agreement) == (10, 1.0)
        assert found.max_abs < 1e-5


def test_a_gate_that_one_sample_cannot_resolve_says_so_in_plain_numbers() -> None:
    one = ArraySource({"x": np.zeros((1, 4), np.float32)}, np.zeros(1, np.int64))
    with pytest.raises(UsageError, match=r"the only sample weighs 100pt, more than 0\.5pt"):
        Gate(max_drop="0.5pt").check_resolution(one)


@pytest.mark.parametrize(
    ("name", "spec", "cure"),
    [
        ("insert-qdq", {"effort": "fast"}, "Leave out --effort fast, give more samples, leave what is sensitive float"),
        ("insert-qdq", {}, "Give --effort best, more samples, leave"),
        ("insert-qdq", {"effort": "best"}, "Give more samples, leave"),
        ("quantize-dynamic", {}, "Leave what is sensitive as it is"),
        ("prune-channels", {}, "a smaller ratio"),
    ],
)
def test_a_missed_gate_says_what_helps_after_these_passes(name: str, spec: dict[str, str], cure: str) -> None:
    model = linear()
    found = compare(model, changed(model, 0.5), ArraySource({"x": normal(20, 4)}))
    report = Report(passes=[PassRecord(name, spec, changed=True, seconds=0.0, before={}, after={}, findings=[])])
    with pytest.raises(GateError) as missed:
        hold(Gate(min_sqnr=400), found, report)
    assert cure in missed.value.hint and ("ratio" in missed.value.hint) == (name == "prune-channels")
