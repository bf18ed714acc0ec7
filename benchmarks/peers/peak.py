"""Run a command, cap its address space, and print its peak memory (children included) as a line of JSON.

python peak.py BYTES COMMAND...        (0 bytes: no cap)
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys


def main() -> None:
    cap = int(sys.argv[1])
    if cap:
        resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
    done = subprocess.run(sys.argv[2:], check=False)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({"peak_mb": round(peak, 1)}))
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
