"""What all tests share: which tier a bare run means, and the count of tests on real data at the end of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

VARIABLE = "ONNXCOMPRESS_TEST_DATA"
TIER = ("tier", "data")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before numpy and torch load: workers that each start a thread a core spin on each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def data_folder() -> Path | None:
    """The folder of real models and data, where this machine has one."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named and Path(named, "models").is_dir() else None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Without ``-m``, and unless single tests are named, only the default tier is run (and real data, where it is)."""
    if not config.option.markexpr and not any("::" in argument for argument in config.args):
        absent = "" if data_folder() else " and not data"
        config.option.markexpr = f"not ci and not nightly{absent}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests on real data where there is none; mark them in the reports, which are what workers send home."""
    absent = pytest.mark.skip(reason=f"{VARIABLE} names no folder with models")
    for item in items:
        if item.get_closest_marker("data") is not None:
            item.user_properties.append(TIER)
            if data_folder() is None:
                item.add_marker(absent)


def _of_data(reports: Iterable[object]) -> int:
    return len({r.nodeid for r in reports if TIER in map(tuple, getattr(r, "user_properties", ()))})


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run in which a data test was skipped although the data is there has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = _of_data(reporter.stats.get("skipped", ())) if reporter else 0
    if skipped and data_folder() is not None and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter) -> None:
    """One line that continuous integration repeats at its end."""
    counts = {kind: _of_data(terminalreporter.stats.get(kind, ())) for kind in ("passed", "failed", "error", "skipped")}
    if sum(counts.values()):
        ran = counts["passed"] + counts["failed"] + counts["error"]
        told = f"data tests: {ran} ran, {counts['failed'] + counts['error']} failed, {counts['skipped']} skipped"
        wrong = " (a failure: the data is there)" if counts["skipped"] and data_folder() is not None else ""
        terminalreporter.write_line(told + wrong)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real models and data; tests that use it are marked `data`."""
    folder = data_folder()
    if folder is None:
        pytest.skip(f"{VARIABLE} names no folder with models")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for the tests, so that none reads or writes the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXCOMPRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
