"""Every sample's table measured anew, one after the other: docs/results/samples/*.md with plots.

    make results        (or: python -m samples.results [NAME ...] [--again])

A run that was stopped goes on where it ended (out/results); `--again` begins anew. full_size has a target of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
APART = ("full_size",)


def names() -> list[str]:
    """Samples that have a table."""
    return [path.parent.name for path in sorted(HERE.glob("*/table.py")) if path.parent.name not in APART]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these samples")
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    given = parser.parse_args()
    begin = time.perf_counter()
    for name in given.names or names():
        again = ["--again"] if given.again else []
        subprocess.run([sys.executable, "-m", f"samples.{name}.table", *again], cwd=HERE.parent, check=True)
        print(f"{name}: done, {(time.perf_counter() - begin) / 60:.1f} minutes since the start", flush=True)


if __name__ == "__main__":
    main()
