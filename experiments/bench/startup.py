"""How long a user waits before anything happens."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 5


def bench_startup() -> dict[str, float]:
    """Median seconds of `import groundrl.rewards` and `groundrl --help`, in fresh processes, interpreter included."""
    return {
        "import groundrl.rewards (s)": _median([sys.executable, "-c", "import groundrl.rewards"]),
        "groundrl --help (s)": _median([sys.executable, "-m", "groundrl.experiments.cli", "--help"]),
    }


def _median(command: list[str]) -> float:
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
