from __future__ import annotations

import threading
import time

import pytest
from builders.runtime_models import linear, normal

from onnxcompress.data import ArraySource
from onnxcompress.runtime import in_order, one_thread, run_source, runs_at_once
from onnxcompress.runtime_options import RuntimeOptions


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_and_few_are_held(workers):
    lock, held, most = threading.Lock(), [0], [0]

    def work(number: int) -> int:
        with lock:
            held[0] += 1
            most[0] = max(most[0], held[0])
        time.sleep(0.002 * (number % 3))
        return number * number

    got = []
    for result in in_order(work, range(20), workers):
        got.append(result)
        with lock:
            held[0] -= 1
    assert got == [n * n for n in range(20)]
    assert most[0] <= workers


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_in_order_is_raised_and_the_rest_is_dropped(workers):
    drawn = []

    def items():
        for number in range(100):
            drawn.append(number)
            yield number

    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda n: 1 // (3 - n), items(), workers))
    assert len(drawn) <= 3 + workers


def test_a_reader_that_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = in_order(str, range(50), 3)
    assert next(results) == "0"
    results.close()
    assert threading.active_count() == before


def test_numbers_do_not_depend_on_the_threads():
    model, source = linear(64, 32), ArraySource({"x": normal(37, 64)})
    runs = [
        [(o.indices.tolist(), o["logits"].tobytes()) for o in run_source(model, source, options=given, batch=5)]
        for given in (RuntimeOptions(threads=1), RuntimeOptions(threads=3), RuntimeOptions())
    ]
    assert runs[0] == runs[1] == runs[2]


def test_threads_are_runs_side_by_side_on_the_processor_alone():
    assert runs_at_once(RuntimeOptions(threads=3)) == 3
    assert runs_at_once(None) >= 1
    assert runs_at_once(RuntimeOptions(providers=("CUDAExecutionProvider", "CPUExecutionProvider"), threads=3)) == 1
    assert one_thread(RuntimeOptions(threads=3)) == RuntimeOptions(threads=1) == one_thread(None)
