"""The committed tables of the samples: a short rerun gives the same within the tolerances that each table states."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from samples.results import names
from samples.sheet import BEGIN, END, RESULTS, Column

ROOT = Path(__file__).parents[2]
TABLES = [name for name in names() if (RESULTS / f"{name}.json").exists()]


def test_every_table_was_measured() -> None:
    assert names() == TABLES


@pytest.mark.parametrize("name", TABLES)
def test_the_page_of_a_sample_shows_the_measured_table(name: str) -> None:
    page = (ROOT / "samples" / name / "README.md").read_text(encoding="utf-8")
    shown = page.split(BEGIN)[1].split(END)[0].strip()
    assert shown.startswith("|")
    assert shown in (RESULTS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.ci
@pytest.mark.parametrize("name", TABLES)
def test_a_short_rerun_gives_the_committed_figures(name: str, tmp_path: Path) -> None:
    line = [sys.executable, "-m", f"samples.{name}.table", "--quick", "--out", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    committed = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    rerun = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    columns = [Column(key, key, "", limit, relative) for key, (limit, relative) in committed["tolerances"].items()]
    assert rerun, "no row of the table is marked quick"
    for label, runs in rerun.items():
        for seed, new in runs.items():
            kept = committed["rows"][label][seed]
            off = [f"{c.key}: {kept[c.key]} -> {new[c.key]}" for c in columns if c.differs(kept, new)]
            assert not off, f"{label}, seed {seed}"
