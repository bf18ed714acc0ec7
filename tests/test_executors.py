from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.calibrators import Statistics, collect
from onnxcompress.calibrators.states import encode
from onnxcompress.data import ArraySource, canonical
from onnxcompress.errors import CompressError
from onnxcompress.executors import open_executor

TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (float[N,4] x) => (float[N,4] y) { a = Relu(x)  y = Exp(a) }"""
SOURCE = ArraySource({"x": np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32)})


def same_with(executor) -> None:
    model = ir.from_onnx_text(TEXT)
    got = Statistics(executor=executor).collect(model, SOURCE, ["x", "a"])
    assert encode(got) == encode(collect(model, canonical(SOURCE), ["x", "a"]))


def test_nothing_asked_for_gives_none():
    with open_executor() as executor:
        assert executor is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("dask://a:1", 2), "exclude each other"),
        ((None, -1), "no number of processes"),
        (("ray://a:1", None), "unknown executor"),
        (("dask://", None), "unknown executor"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises(CompressError, match=said), open_executor(*given):
        pass


@pytest.mark.ci
def test_two_processes_give_the_same_bytes():
    with open_executor(workers=2) as executor:
        same_with(executor)


@pytest.mark.ci
def test_a_dask_cluster_of_two_workers_gives_the_same_bytes():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        with open_executor(f"dask://{address}") as executor:
            same_with(executor)


@pytest.mark.ci
def test_a_scheduler_that_is_not_there_is_told():
    pytest.importorskip("distributed")
    with pytest.raises(CompressError, match="no Dask scheduler"), open_executor("dask://127.0.0.1:9"):
        pass
