"""`groundrl bench data`: a JSONL of a million text samples, opened and gone through in shuffled order."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil  # accelerate needs it too

from groundrl.experiments.bench.section import write_section
from groundrl.rollout.io.records import write_text

SAMPLES = 1_000_000
RESULTS = Path("evidence/results/data.json")
START, END = "<!-- groundrl bench data -->", "<!-- end of groundrl bench data -->"
PART = 10_000  # lines written at a time


def bench_data(folder: Path = Path(), samples: int = SAMPLES) -> dict[str, float]:
    """Measure twice, each in a fresh process, and write JSON and the section of BENCHMARKS.md under `folder`.

    `start`: seconds from the path to the first example in shuffled order. `growth`: bytes of resident memory at most,
    above the level before the file was opened. `samples_per_second`: through all of it. `same_order`: 1 where both
    processes saw the same examples in the same order.
    """
    with tempfile.TemporaryDirectory() as index:
        path = Path(index) / "samples.jsonl"
        write_samples(path, samples)
        first, second = (_process(path) for _ in range(2))
        size = path.stat().st_size
    content = {
        "samples": samples,
        "bytes": size,
        "start": min(first["start"], second["start"]),
        "growth": max(first["growth"], second["growth"]),
        "samples_per_second": max(first["samples_per_second"], second["samples_per_second"]),
        "same_order": float(first["order"] == second["order"]),
    }
    write_text(json.dumps(content, indent=2) + "\n", folder / RESULTS)
    write_section(section(content), folder / "BENCHMARKS.md", start=START, end=END)
    return content


def write_samples(path: Path, samples: int) -> None:
    """A question, its answer and its reference on each line, about 300 bytes."""
    question = "A patient has a cough, fever and a new opacity in the right lower lobe. Which finding is most likely? "
    with path.open("w") as file:
        for begin in range(0, samples, PART):
            rows = (
                {"id": f"s{k}", "prompt": f"{question * (1 + k % 2)}Case {k}.", "answer": "ABCD"[k % 4]}
                | {"reference": {"label": "ABCD"[k % 4], "choices": ["edema", "pneumonia", "effusion", "mass"]}}
                for k in range(begin, min(begin + PART, samples))
            )
            file.write("".join(json.dumps(row) + "\n" for row in rows))


def measure(path: Path) -> dict[str, Any]:
    """What one process sees: it opens the file as a run does, and reads every example in the order of a stage."""
    from groundrl.experiments.data import load_source
    from groundrl.rollout.io.order import visiting_order

    before = psutil.Process().memory_info().rss
    begin = time.perf_counter()
    source = load_source(str(path), seed=0, base=path.parent)
    order = visiting_order(source, seed=0)
    digest = hashlib.sha256(source[order[0]].id.encode())
    start = time.perf_counter() - begin
    begin = time.perf_counter()
    for position in range(1, len(source)):
        digest.update(source[order[position]].id.encode())
    seconds = time.perf_counter() - begin
    return {
        "start": start,
        "growth": peak_memory() - before,
        "samples_per_second": len(source) / seconds,
        "order": digest.hexdigest(),
    }


def peak_memory() -> int:
    """The most bytes that this process has had in memory."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _process(path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "groundrl.experiments.bench.data", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring {path} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def section(content: Mapping[str, float]) -> str:
    """What BENCHMARKS.md says of these results."""
    lines = [
        START,
        "## Data at scale",
        "",
        f"`groundrl bench data`: a JSONL of {content['samples']:,.0f} text samples ({content['bytes'] / 1e6:.0f} MB)",
        "is opened and gone through once in shuffled order, in two fresh processes. Start is from the path to the",
        "first example; growth is the peak of resident memory above the level before the file was opened.",
        "",
        "| start | growth of memory | samples a second, one core | same order in both |",
        "|---|---|---|---|",
        f"| {content['start']:.2f} s | {content['growth'] / 1e6:.0f} MB | {content['samples_per_second']:,.0f} "
        f"| {'yes' if content['same_order'] else 'NO'} |",
        END,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
