"""A wrong cut is an error that tells what, where, why and how to go on, and writes nothing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.command_line import CommandLine
from builders.minis import MINIS
from builders.pruning_models import NETS, conv_bn_residual, net

from onnxcompress import graph, model_io
from onnxcompress.errors import InternalError
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.pruning import cutting, relabel, surgery, survey
from onnxcompress.passes.pruning.oracles import permutation_test, post_condition, zero_test
from onnxcompress.passes.pruning.oracles.recording import Recording, gap, gaps
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.shapes import probe_feeds
from onnxcompress.testing import context

BY_TITLE = {mini.title: mini for mini in MINIS}


def prune(model: ir.Model, *, verify: str = "quick") -> list[Finding]:
    return list(PruneChannels(ratio=0.5).run(model, context(model, verify=verify)))


def swap_columns(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The last two columns of a weight trade places after the cut: shapes fit, numbers do not."""
    right = cutting.cut_constants

    def wrong(cut: surgery.Cut) -> None:
        right(cut)
        value = cut.found.model.graph.initializers[name]
        graph.set_constant(value, value.const_value.numpy()[:, ::-1].copy())

    monkeypatch.setattr(cutting, "cut_constants", wrong)


def test_a_wrong_cut_is_refused_and_the_node_named(monkeypatch):
    swap_columns(monkeypatch, "w1")
    with pytest.raises(InternalError, match="other numbers than the masked original") as caught:
        prune(conv_bn_residual())
    error = caught.value
    assert (error.code, error.where) == ("PRUNE-ORACLE", "tensor y")
    assert "first at the node c" in error.why
    assert "--exclude c" in error.hint


def test_the_user_gets_an_error_and_no_file(monkeypatch, tmp_path, capsys):
    source, output = tmp_path / "model.onnx", tmp_path / "pruned.onnx"
    model_io.save(conv_bn_residual(), source)
    before = source.read_bytes()
    swap_columns(monkeypatch, "w1")
    outcome = CommandLine(capsys)("prune", source, "--ratio", "0.5", "-o", output)
    assert outcome.code == 1
    assert outcome.out == ""
    told = " ".join(outcome.err.split())
    assert "the cut model computes other numbers than the masked original (tensor y): it differs by" in told
    assert "Give --exclude c to leave it alone" in told
    assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert source.read_bytes() == before


def test_the_way_on_is_open(monkeypatch, tmp_path, capsys):
    """What the hint says works: the node left alone, the rest is pruned."""
    source, output = tmp_path / "model.onnx", tmp_path / "pruned.onnx"
    model_io.save(NETS["asymmetric chunks"](), source)
    outcome = CommandLine(capsys)("prune", source, "--ratio", "0.5", "--exclude", "u", "-o", output)
    assert outcome.code == 0
    assert output.exists()


def test_a_size_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(relabel, "_FIXES", {k: v for k, v in relabel._FIXES.items() if k != "Reshape"})
    with pytest.raises(InternalError) as caught:
        prune(NETS["channels last"]())
    assert caught.value.code == "PRUNE-ORACLE"


def test_a_batch_that_is_written_into_the_model_is_refused(monkeypatch):
    """A target that holds at the traced batch only."""
    right = cutting.relabel

    def wrong(cut: surgery.Cut) -> None:
        right(cut)
        target = cut.found.model.graph.initializers["back"]
        graph.set_constant(target, np.array([2, -1, 8, 8]))

    monkeypatch.setattr(cutting, "relabel", wrong)
    with pytest.raises(InternalError) as caught:
        prune(NETS["channels last"]())
    assert caught.value.code == "PRUNE-ORACLE"


def test_labels_that_are_off_by_one_fail_the_permutation_test(monkeypatch):
    right = survey.trace

    def wrong(*arguments):
        found: Trace = right(*arguments)
        use = next(u for u in found.uses if u.value.name == "w1")
        use.labels[0] = np.roll(use.labels[0], 1)
        return found

    monkeypatch.setattr(survey, "trace", wrong)
    with pytest.raises(InternalError, match="traded places"):
        prune(NETS["asymmetric chunks"](), verify="full")


def test_a_cut_of_nothing_that_writes_something_is_refused():
    model = conv_bn_residual()

    def cut_nothing() -> None:
        model.graph.initializers["w1"].const_value = ir.tensor(np.zeros((8, 8, 3, 3), np.float32), name="w1")

    with pytest.raises(InternalError, match="a cut of nothing"):
        post_condition.check_identity(model, cut_nothing)


def test_the_reference_differs_from_the_original(monkeypatch):
    """The oracle is not vacuous: zeroing the doomed slices changes what the model computes."""
    model = conv_bn_residual()
    feeds = probe_feeds(model)
    whole = Session(model).run(feeds)["y"]
    seen: list[ir.Model] = []

    def watch(cut: surgery.Cut) -> ir.Model:
        seen.append(zero_test.zeroed(cut))
        return seen[0]

    monkeypatch.setattr(post_condition, "zeroed", watch)
    prune(model)
    assert np.abs(Session(seen[0]).run(feeds)["y"] - whole).max() > 0.1


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("residual with batch norm", "w0 b0 g1 o1 m1 var1 w1 wl"),
        ("rotary embedding", "wq wk cs sn"),
        ("channel shuffle between grouped convolutions", "w0 w1 w2 wl"),
        ("bidirectional LSTM into a linear layer", "w r b w1"),
    ],
)
def test_a_permutation_moves_every_weight_and_no_output(monkeypatch, title, names):
    model = BY_TITLE[title].model()
    feeds = probe_feeds(model)
    before = {n: v.const_value.numpy().copy() for n, v in model.graph.initializers.items()}
    whole = Session(model).run(feeds)["y"]
    seen: list[ir.Model | None] = []

    def watch(cut: surgery.Cut, seed: int) -> tuple[ir.Model, set[str]] | None:
        turned = permutation_test.permuted(cut, seed)
        seen.append(turned and turned[0])
        return turned

    monkeypatch.setattr(post_condition, "permuted", watch)
    prune(model, verify="full")
    turned = seen[0]
    assert turned is not None
    after = {n: v.const_value.numpy() for n, v in turned.graph.initializers.items()}
    assert all(not np.array_equal(before[name], after[name]) for name in names.split())
    assert np.abs(Session(turned).run(feeds)["y"] - whole).max() <= 1e-5 * np.abs(whole).max()


def test_quick_runs_each_model_once_and_the_result_once_more(monkeypatch):
    runs: list[int] = []
    model = conv_bn_residual()
    ctx = context(model)
    monkeypatch.setattr(post_condition, "record", _counted(post_condition.record, runs))
    list(PruneChannels(ratio=0.5).run(model, ctx))
    assert runs == [3, 3, 2]


def _counted(record, runs: list[int]):
    def counting(model, probes, *rest, **options):
        runs.extend(len(next(iter(feeds.values()))) for feeds in probes)
        return record(model, probes, *rest, **options)

    return counting


def test_full_also_tries_other_lengths():
    findings = prune(BY_TITLE["two heads with computed sizes"].model(), verify="full")
    exact = next(f for f in findings if f.code == "PRUNE-EXACT")
    assert exact.numbers["probes"] == 3
    assert exact.numbers["permuted"] <= 1e-5


def test_gaps_are_over_the_range_and_leave_out_the_farthest():
    wanted, got = np.array([10.0, 0.0, 0.0, 5.0]), np.array([10.0, 1.0, 0.0, 5.0])
    assert gap(wanted, got) == pytest.approx(0.1)
    assert gap(wanted, got, within=0.75) == 0.0
    assert gap(wanted, np.array([np.nan, 0.0, 0.0, 5.0])) == np.inf
    assert gap(np.array([np.nan]), np.array([np.nan])) == 0.0
    runs = [Recording(("y",), ("y",), ({"y": wanted}, {"y": a})) for a in (wanted, got)]
    assert gaps(*runs, within=1.0) == {"y": pytest.approx(0.1)}


def test_rounding_is_told_from_an_error():
    """Two sums that nearly cancel round at more than the limit; in another order they come out otherwise, rightly."""
    rng = np.random.default_rng(0)
    w1 = rng.normal(size=(96, 64)).astype(np.float32)
    text = """g (float[N,8] x) => (float[N,4] y) { a = MatMul(x, w0) r = Relu(a) b = MatMul(r, w1) c = MatMul(r, w2)
        d = Sub(b, c) y = MatMul(d, w3) }"""
    near = (w1 * np.float32(1 + 1 / 256)).astype(np.float32)
    findings = prune(net(text, {"w0": (8, 96), "w3": (64, 4)}, w1=w1, w2=near), verify="full")
    exact = next(f for f in findings if f.code == "PRUNE-EXACT")
    assert 1e-5 < exact.numbers["permuted"] < 1e-4
