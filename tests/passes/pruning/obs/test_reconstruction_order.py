"""Cells ordered by reconstruction error, on whole nets."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.pruning_models import IMAGE, LOGITS, NETS, flattened, net

from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.errors import UsageError
from onnxcompress.graph import label
from onnxcompress.passes.base import Context
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.pruning.cells import Cell, cells
from onnxcompress.passes.pruning.obs.curves import curved
from onnxcompress.passes.pruning.obs.forms import by_channel
from onnxcompress.passes.pruning.obs.readers import Reader, readers_of
from onnxcompress.passes.pruning.obs.statistics import Statistics, measure
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import infer, probe_feeds
from onnxcompress.testing import context


def samples(model: ir.Model, count: int = 12) -> ArraySource:
    """Seeded samples of the model's own input shapes."""
    feeds = probe_feeds(model, batch=count, seed=3)
    whole = {name: array for name, array in feeds.items() if array.ndim and len(array) == count}
    alone = {name: np.repeat(array[None], count, axis=0) for name, array in feeds.items() if name not in whole}
    return ArraySource({**whole, **alone})


def chain(*, last: int = 1, **given: np.ndarray) -> ir.Model:
    """Three convolutions in a row, the last with a kernel of `last`; `a` has 8 channels, `c` has 6."""
    body = f"""g ({IMAGE}) => ({LOGITS}) {{
        a = Conv<pads=[1,1,1,1]>(x, w0, b0) r = Relu(a) c = Conv<pads=[1,1,1,1]>(r, w1, b1) z = Relu(c)
        y = Conv(z, wl) }}"""
    shapes = {"w0": (8, 3, 3, 3), "b0": (8,), "w1": (6, 8, 3, 3), "b1": (6,), "wl": (5, 6, last, last)}
    return net(body, {k: v for k, v in shapes.items() if k not in given}, **given)


def traced(model: ir.Model) -> Trace:
    return trace(model, infer(model, values=True), RULES, {label(node) for node in model.graph}, set())


def cells_of(model: ir.Model, data: ArraySource, *, choose: bool = True, seed: int = 0) -> list[Cell]:
    found = trace(
        model, infer(model, values=True), RULES, {node.name or node.outputs[0].name for node in model.graph}, set()
    )
    before = cells(found, np.zeros(len(found.atoms)))
    return curved(found, before, context(model, data=data, seed=seed), choose=choose)[0]


def test_a_dead_channel_goes_first_without_error():
    w0, b0 = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32), np.zeros(8, np.float32)
    w0[5], b0[5] = 0, -1
    model = chain(w0=w0, b0=b0)
    first = cells_of(model, samples(model))[0]
    assert first.order[0, 0] - first.order.min() == 5
    assert first.importance[0] == pytest.approx(0, abs=1e-3)
    assert (first.importance[1:] > 1e-3).all()


def test_a_channel_that_another_one_repeats_costs_next_to_nothing():
    rng = np.random.default_rng(1)
    w0, b0 = rng.normal(size=(8, 3, 3, 3)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    w0[6], b0[6] = 3 * w0[2], 3 * b0[2]
    model = chain(w0=w0, b0=b0)
    first = cells_of(model, samples(model))[0]
    assert first.order[0, 0] - first.order.min() in (2, 6)
    assert first.importance[0] < 0.01 * first.importance[1]


def test_all_of_a_cell_costs_the_whole_variance():
    model = chain()
    last = cells_of(model, samples(model))[1]
    # With every input gone only the constant is left, here without a bias of its own to follow.
    assert 0.5 < last.importance.sum() < 10


def test_keeping_an_order_measures_it():
    model = chain()
    data = samples(model)
    free, fixed = cells_of(model, data)[0], cells_of(model, data, choose=False)[0]
    assert fixed.order.tolist() == sorted(fixed.order.tolist())
    assert free.importance[:4].sum() <= fixed.importance[:4].sum()
    assert free.importance.sum() == pytest.approx(fixed.importance.sum())


@pytest.mark.parametrize("name", NETS)
def test_every_net_is_pruned_with_data(name):
    model = NETS[name]()
    ctx = context(model, data=samples(model))
    findings = list(PruneChannels(target_params="0.6x").run(model, ctx))
    assert "PRUNE-EXACT" in {f.code for f in findings}


def test_one_sample_and_constant_samples_give_numbers():
    model = chain()
    for array in (np.ones((1, 3, 8, 8), np.float32), np.zeros((4, 3, 8, 8), np.float32)):
        for cell in cells_of(model, ArraySource({"x": array})):
            assert np.isfinite(cell.importance).all()


def test_threads_and_repetition_change_no_byte():
    def run(threads: int) -> bytes:
        model = chain()
        ctx = context(model, data=samples(model), runtime=RuntimeOptions(threads=threads))
        list(PruneChannels(target_macs="0.5x").run(model, ctx))
        return model_io.to_bytes(model)

    assert run(1) == run(1) == run(2)


def test_little_memory_means_more_walks_and_the_same_cells(monkeypatch):
    model = chain(last=5)  # its readers have 8 * 9 and 6 * 25 columns and a bias
    data = samples(model)
    found = traced(model)
    before = cells(found, np.zeros(len(found.atoms)))
    wide, none = curved(found, before, context(model, data=data), choose=True)
    largest = max(reader.bytes for reader in readers_of(found))
    walks: list[int] = []

    def counted(found: Trace, readers: dict[int, Reader], ctx: Context) -> dict[int, Statistics]:
        walks.append(len(readers))
        return measure(found, readers, ctx)

    monkeypatch.setattr("onnxcompress.passes.pruning.obs.curves.measure", counted)
    tight, still_none = curved(found, before, context(model, data=data, memory_bytes=5 * largest), choose=True)
    assert walks == [2]
    monkeypatch.setattr("onnxcompress.passes.pruning.obs.forms._COPIES", 1)
    tight, still_none = curved(found, before, context(model, data=data, memory_bytes=largest), choose=True)
    assert walks == [2, 1, 1]
    assert none == still_none == []
    assert [c.order.tolist() for c in wide] == [c.order.tolist() for c in tight]
    assert all(np.array_equal(a.importance, b.importance) for a, b in zip(wide, tight, strict=True))


def test_beyond_the_memory_it_goes_channel_by_channel_and_then_by_norms():
    model = chain()
    data = samples(model)
    found = traced(model)
    before = cells(found, np.arange(len(found.atoms), dtype=float))
    patch, _ = curved(found, before, context(model, data=data), choose=True)
    channel, findings = curved(found, before, context(model, data=data, memory_bytes=5 * 8 * 73 * 73 - 1), choose=True)
    assert [f.code for f in findings] == ["PRUNE-CURVE-BY-CHANNEL"]
    assert findings[0].numbers == {"columns": 73}
    assert sorted(channel[0].order[0]) == sorted(patch[0].order[0])
    assert np.corrcoef(channel[0].importance, patch[0].importance)[0, 1] > 0.8
    none, findings = curved(found, before, context(model, data=data, memory_bytes=1), choose=True)
    assert {f.code for f in findings} == {"PRUNE-CURVE-TOO-LARGE"}
    assert [c.order.tolist() for c in none] == [c.order.tolist() for c in before]
    assert all(c.importance.sum() == pytest.approx(1) for c in none)


def test_a_flattened_map_has_a_channel_form():
    model = flattened()
    found = traced(model)
    reader = next(r for r in readers_of(found) if r.roots.shape[1] > 20)
    small = by_channel(reader)
    assert small is not None
    assert small.roots.shape[1] < reader.roots.shape[1]
    taps = (reader.roots.shape[1] - 1) // (small.roots.shape[1] - 1)
    rng = np.random.default_rng(0)
    x = {reader.sources[0]: rng.normal(size=(5, reader.roots.shape[1] - 1)).astype(np.float32)}
    rows = small.view.rows(x, np.arange(0, 5))
    assert rows.shape[2] == small.roots.shape[1]
    first = x[reader.sources[0]][0].reshape(-1, taps).T
    np.testing.assert_array_equal(rows[0, :taps, :-1], first)


def test_the_channel_form_keeps_no_more_outputs_than_columns_and_their_power():
    model = flattened()
    reader = next(r for r in readers_of(traced(model)) if r.roots.shape[1] > 20)
    small = by_channel(reader)
    assert small is not None
    assert small.weight.shape[2] <= small.weight.shape[1]
    channels = small.roots.shape[1] - 1
    whole = reader.weight[0, :-1].reshape(channels, -1)
    power = small.weight[0] @ small.weight[0].T
    np.testing.assert_allclose(power[:channels, :channels], whole @ whole.T, rtol=1e-9, atol=1e-9)


def test_readers_are_measured_where_their_error_arrives():
    text = """g (float[N,3,8,8] x) => (float[N,5,8,8] y) {
        a = Conv<pads=[1,1,1,1]>(x, w0) r = Relu(a) c = Conv<pads=[1,1,1,1]>(r, w1)
        n = BatchNormalization(c, g, b, m, var) s = Add(n, a) z = Relu(s) y = Conv(z, wl) }"""
    shapes = {"w0": (8, 3, 3, 3), "w1": (8, 8, 3, 3), "wl": (5, 8, 1, 1), **dict.fromkeys(("g", "b", "m", "var"), (8,))}
    model = net(text, shapes)
    found = traced(model)
    feeds = {reader.sources[0]: reader.feeds for reader in readers_of(found)}
    assert feeds == {"r": "s", "z": ""}


@pytest.mark.parametrize("name", NETS)
def test_a_class_shows_in_its_own_columns_alone(name):
    """Rows of a tensor that holds one class alone are zero in the columns of all other classes."""
    model = NETS[name]()
    table = infer(model, values=True)
    found = trace(model, table, RULES, {label(node) for node in model.graph}, set())
    values = {value.name: value for value in found.labels}
    for reader in readers_of(found):
        labels = found.labels[values[reader.sources[0]]]
        axis = next((a for a, ids in enumerate(labels) if ids is not None), None)
        shape = table.probe(reader.sources[0])
        if axis is None or shape is None or len(reader.sources) > 1 or sum(ids is not None for ids in labels) > 1:
            continue
        roots = found.atoms.roots(labels[axis])
        mask = (roots == roots[0]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        arrays = {reader.sources[0]: np.where(mask, np.ones(shape), 0.0)}
        rows = reader.view.rows(arrays, np.arange(reader.view.count(arrays)))
        moved = np.abs(rows).sum(axis=1) > 0
        assert moved[reader.roots == roots[0]].any()
        assert not moved[(reader.roots >= 0) & (reader.roots != roots[0])].any()


@pytest.mark.parametrize(
    ("text", "first", "second", "source"),
    [
        ("h = Gemm<transA=1>(x, w0) r = Relu(h) t = Transpose(r) y = Gemm<transA=1>(t, w1)", (7, 6), (6, 4), "t"),
        ("t = MatMul(w0, x) y = MatMul(w1, t)", (6, 7), (4, 6), "t"),
    ],
    ids=["transA", "constant on the left"],
)
def test_matrix_products_of_either_side_are_read_along_their_inner_axis(text, first, second, source):
    model = net(f"g (float[7,9] x) => (float[A,B] y) {{ {text} }}", {"w0": first, "w1": second})
    reader = next(r for r in readers_of(traced(model)) if r.sources == (source,))
    assert len(np.unique(reader.roots[reader.roots >= 0])) == 6
    x = {source: np.arange(54.0).reshape(6, 9)}
    rows = reader.view.rows(x, np.arange(reader.view.count(x)))[0]
    np.testing.assert_array_equal(rows[:, :6], x[source].T)


def test_the_variance_of_a_sum_is_taken_channel_by_channel():
    text = """g (float[N,3,16] x) => (float[N,5,16] y) {
        a = Conv<pads=[1,1]>(x, w0) r = Relu(a) c = Conv<pads=[1,1]>(r, w1) s = Add(c, a) y = Conv(s, wl) }"""
    model = net(text, {"w0": (8, 3, 3), "w1": (8, 8, 3), "wl": (5, 8, 1)})
    data = samples(model, 16)
    found = traced(model)
    reader = next(r for r in readers_of(found) if r.feeds)
    found_out = measure(found, {0: reader}, context(model, data=data))[0]
    total = Session(model, taps=["s"]).run(data.read(np.arange(16)), ["s"])["s"]
    runs = np.arange(16) // 2 % 4  # two samples a run, every fourth run held out
    for moments, part in ((found_out.fit, total[runs != 3]), (found_out.held_out, total[runs == 3])):
        assert moments.variance() == pytest.approx(part.var(axis=(0, 2)).sum(), rel=1e-4)


@pytest.mark.parametrize("options", [{"score": "reconstruction"}, {"allocation": "sensitivity"}])
def test_without_data_it_says_so(options):
    model = chain()
    with pytest.raises(UsageError, match="needs samples"):
        list(PruneChannels(ratio=0.5, **options).run(model, context(model)))
