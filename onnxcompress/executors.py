"""Executors by name: processes of this machine, or a Dask cluster that runs already.

Any other `concurrent.futures.Executor` is given in Python, `PassManager.run(executor=...)`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from concurrent.futures import Executor
from importlib import import_module, util
from typing import Any

from onnxcompress.errors import ResourceError, UsageError


@contextlib.contextmanager
def open_executor(spec: str | None = None, workers: int | None = None) -> Generator[Executor | None]:
    """The executor, shut down at the end; None where nothing was asked for.

    Args:
        spec: ``dask://host:port`` of a scheduler.
        workers: Processes on this machine; None for this one alone.

    Raises:
        UsageError: Where both were given, fewer than one process, the name is no scheduler's, or Dask is not installed.
        ResourceError: Where the scheduler does not answer.
    """
    if spec is not None and workers is not None:
        hint = "Give one of the two."
        raise UsageError("--workers and --executor exclude each other", hint=hint, code="USAGE-EXECUTOR")
    if workers is not None and workers < 1:
        hint = "Give 1 or more; without --workers this process counts."
        raise UsageError(f"--workers {workers} is no number of processes", hint=hint, code="USAGE-EXECUTOR")
    if spec is not None:
        with _dask(spec) as executor:
            yield executor
    elif workers:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        # Spawned, not forked: ONNX Runtime's threads do not survive a fork.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    else:
        yield None


@contextlib.contextmanager
def _dask(spec: str) -> Generator[Executor]:
    scheme, _, address = spec.partition("://")
    if scheme != "dask" or not address:
        hint = "Give the scheduler as dask://HOST:PORT."
        raise UsageError(f"unknown executor {spec!r}", hint=hint, code="USAGE-EXECUTOR")
    if util.find_spec("distributed") is None:
        raise UsageError(
            f"cannot use {spec}",
            why="Dask is not installed",
            hint="pip install 'onnxcompress[dask]'.",
            code="USAGE-EXECUTOR",
        )
    distributed: Any = import_module("distributed")
    try:
        client = distributed.Client(f"tcp://{address}", timeout=10)
    except OSError as fault:
        hint = "Start one: dask scheduler; dask worker tcp://HOST:PORT (with onnxcompress installed)."
        raise ResourceError(
            f"no Dask scheduler answers at {address}", why=str(fault), hint=hint, code="RESOURCE-EXECUTOR"
        ) from fault
    with client, client.get_executor(pure=False) as executor:
        yield executor
