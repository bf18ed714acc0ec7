from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcompress.calibrators import Statistics, collect, store
from onnxcompress.calibrators.cache import Cache
from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.calibrators.states import decode, encode
from onnxcompress.calibrators.streaming import Counter, merged
from onnxcompress.data import ArraySource, canonical

TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (float[N,4] x) => (float[N,4] y) { a = Relu(x)  b = Exp(a)  y = Sqrt(b) }"""
X = np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32)
NAMES = ["x", "a", "b"]


def model() -> ir.Model:
    return ir.from_onnx_text(TEXT)


def source(order=slice(None)) -> ArraySource:
    return ArraySource({"x": X[order]})


def plain() -> bytes:
    return encode(collect(model(), canonical(source()), NAMES))


@given(st.permutations(range(150)), st.lists(st.integers(1, 149), max_size=4))
@settings(max_examples=15, deadline=None)
def test_any_order_and_partition_adds_up_to_one_state(order, cuts):
    parts = np.split(np.array(order), sorted(set(cuts)))
    total = merged([Counter(model(), NAMES).count(source(part)) for part in parts])
    assert encode(total) == plain()


def test_what_was_counted_is_not_counted_again(monkeypatch):
    kept = Statistics()
    first = kept.collect(model(), source(), ["x", "a"])
    counted = []
    monkeypatch.setattr(store, "Counter", lambda m, names, **o: counted.append(names) or Counter(m, names, **o))
    again = kept.collect(model(), source(np.arange(150)[::-1]), NAMES)
    assert counted == [("b",)]
    assert again["a"] is first["a"] and encode(again) == plain()


class Flaky(ThreadPoolExecutor):
    """Loses the first two tasks."""

    tasks = 0

    def submit(self, *given) -> Future:
        self.tasks += 1
        if self.tasks <= 2:
            lost: Future = Future()
            lost.set_exception(ConnectionError("worker gone"))
            return lost
        return super().submit(*given)


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, Flaky])
def test_an_executor_gives_the_same_bytes_though_it_loses_shards(pool):
    with pool(2) as executor:
        assert encode(Statistics(executor=executor).collect(model(), source(), NAMES)) == plain()


def test_a_run_that_was_cut_short_goes_on(tmp_path, monkeypatch):
    cache, whole = Cache(tmp_path), store._Work.here

    def killed(work, starts):
        yield next(whole(work, starts))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._Work, "here", killed)
        with pytest.raises(KeyboardInterrupt):
            Statistics(cache=cache).collect(model(), source(), NAMES)
    assert len(list(tmp_path.glob("*.part"))) == 1
    seen: list[int] = []

    def watched(work, starts):
        seen.extend(starts)
        return whole(work, starts)

    monkeypatch.setattr(store._Work, "here", watched)
    assert encode(Statistics(cache=cache).collect(model(), source(), NAMES)) == plain()
    assert seen == [64, 128] and not list(tmp_path.glob("*.part"))


def test_the_cache_serves_another_process_and_adds_tensors(tmp_path, monkeypatch):
    Statistics(cache=Cache(tmp_path)).collect(model(), source(), ["x", "a"])
    assert encode(Statistics(cache=Cache(tmp_path)).collect(model(), source(), NAMES)) == plain()
    monkeypatch.setattr(store, "Counter", None)
    assert encode(Statistics(cache=Cache(tmp_path)).collect(model(), source(), NAMES)) == plain()
    other = model()
    other.graph.name = "other"
    with pytest.raises(TypeError):
        Statistics(cache=Cache(tmp_path)).collect(other, source(), NAMES)


def _resealed(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() + body


def _lies(data: bytes) -> dict[str, bytes]:
    hist = FloatHistogram()
    hist.update(X)
    hist._slow[255] = np.ones(256, np.int64)
    return {
        "empty": b"",
        "cut off": data[:-5],
        "flipped": data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "no safetensors": _resealed(b"\xff" * 64),
        "other header": _resealed(data[32:].replace(b"octaves", b"octavez")),
        "a bucket of NaN": encode({"x": hist}),
    }


@pytest.mark.parametrize("lie", sorted(_lies(plain())))
def test_damaged_and_hostile_files_are_left_aside(tmp_path: Path, lie, caplog):
    Statistics(cache=Cache(tmp_path)).collect(model(), source(), NAMES)
    (file,) = tmp_path.iterdir()
    file.write_bytes(_lies(file.read_bytes())[lie])
    assert encode(Statistics(cache=Cache(tmp_path)).collect(model(), source(), NAMES)) == plain()
    assert "left aside" in caplog.text
    assert encode(decode(file.read_bytes())) == plain()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    kept = Statistics(cache=Cache(tmp_path / "file"))
    assert encode(kept.collect(model(), source(), NAMES)) == plain()
    assert "could not be written" in caplog.text


def test_the_oldest_files_go_first(tmp_path):
    cache, found = Cache(tmp_path, limit_bytes=20_000), decode(plain())
    for key in "abc":
        cache.save(key, {"x": found["x"]})
    assert [p.name for p in sorted(tmp_path.iterdir())][-1] == "c.histograms"
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 20_000 or len(list(tmp_path.iterdir())) == 1
