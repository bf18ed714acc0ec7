"""Several runs side by side, with results in order.

A kernel that splits a sum among threads adds in another order for another number of threads. So everything that
decides bytes runs in sessions of one thread, and speed comes from several runs at once: the numbers are then the same
for any number of them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from onnxcompress.runtime_options import RuntimeOptions

Item = TypeVar("Item")
Made = TypeVar("Made")


def one_thread(options: RuntimeOptions | None) -> RuntimeOptions:
    """The same options with one thread a session."""
    return replace(options or RuntimeOptions(), threads=1)


def runs_at_once(options: RuntimeOptions | None) -> int:
    """How many runs go side by side: the threads asked for, else the processors; 1 on anything but the CPU."""
    options = options or RuntimeOptions()
    if options.providers != RuntimeOptions().providers:
        return 1
    return options.threads or _processors()


def in_order(function: Callable[[Item], Made], items: Iterable[Item], workers: int) -> Iterator[Made]:
    """``map`` over threads: results in the order of `items`, of which no more than `workers` are under way or waiting.

    Args:
        function: Called from several threads at once.
        items: Drawn one by one from the calling thread, as results are taken.
        workers: Threads; with 1 everything happens in the calling thread.

    Yields:
        What `function` gave for each item.

    Raises:
        Exception: The first error of `function` in the order of `items`; what has not started is dropped.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
