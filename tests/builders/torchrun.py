"""Running a script or a module in several processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
ALONE: tuple[str, ...] = ()
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(launcher: tuple[str, ...], *words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `words` under `launcher` in `folder`, one thread a process; a hang is a failure."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, *launcher, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, timeout=240, check=False
    )
