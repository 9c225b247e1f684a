"""A process that makes the runs of a sweep, one after the other: `python -m groundrl.experiments.ablation.worker`.

It reads jobs from stdin and answers on stdout, one line of JSON each, and ends when its sweep is gone.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundrl.experiments.ablation.arms import rl_stages
from groundrl.experiments.ablation.plan import Job, Plan, is_run
from groundrl.experiments.ablation.settings import load_sweep_settings
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import RunConfig
from groundrl.rollout.io.records import read_lines, write_text

PILOT_STEPS = 2  # the first also warms up; the last is timed


def run_job(plan: Plan, job: Job, *, threads: int) -> None:
    """Make a run, go on with one that was interrupted, or leave one that is complete."""
    from groundrl.experiments.runs.train import resume

    if plan.done(job):
        return
    folder = plan.run(job)
    if is_run(folder):
        resume(folder, progress=False)
        return
    shutil.rmtree(folder, ignore_errors=True)  # killed before it was a run
    _make(plan.config(job, threads=threads), plan.paths, folder)


def attempt(plan: Plan, job: Job, *, threads: int) -> str | None:
    """None where the run is complete, else the last line of what went wrong; the whole of it is in `errors/`."""
    file = error_file(plan, job)
    try:
        run_job(plan, job, threads=threads)
    except Exception as error:  # whatever it is, the other arms are made
        write_text(traceback.format_exc(), file)
        return traceback.format_exception_only(error)[-1].strip()
    file.unlink(missing_ok=True)
    return None


def run_pilot(plan: Plan, *, threads: int) -> dict[str, Any]:
    """Two steps of each stage of the base in a folder of its own: what a step takes, and how each part varies."""
    from groundrl.experiments.data.sources import load_source

    content = plan.base.model_dump(mode="json") | {"audit": "off", "seed": plan.settings.seed_list[0]}
    content["data"] |= {"test": None}
    content["hardware"] |= {"threads": threads}
    content["stages"] = [stage | {"steps": PILOT_STEPS, "checkpoint_every": 0} for stage in content["stages"]]
    assert plan.base.data.test is not None
    with tempfile.TemporaryDirectory() as folder:
        _make(load_config(content, {})[0], plan.paths, Path(folder) / "pilot")
        rows = list(read_lines(Path(folder) / "pilot" / "metrics.jsonl"))
    stage = rl_stages(plan.base)[0]
    sampled = [row for row in rows if row["stage"] == stage.name]
    parts = {key.split("/")[1] for row in sampled for key in row if key.endswith("/advantage_share")}
    return {
        "seconds": {row["stage"]: row["seconds/step"] for row in rows},  # the last step's
        "seconds_per_completion": sampled[-1]["seconds/sample"] / (stage.prompts_per_step * stage.group_size),
        "test_examples": len(load_source(plan.base.data.test, seed=0, base=plan.paths)),
        "constant_parts": sorted(p for p in parts if not any(row[f"reward/{p}/advantage_share"] for row in sampled)),
    }


def error_file(plan: Plan, job: Job) -> Path:
    """Where a run's traceback lies."""
    return plan.folder / "errors" / f"{job}.txt"


def read_plan(folder: Path) -> Plan:
    """The plan of a sweep's folder."""
    settings, _ = load_sweep_settings(folder / "sweep.yaml", {})
    return Plan(settings, Path(json.loads((folder / "environment.json").read_text())["base"]), folder)


def _make(config: RunConfig, paths: Path, folder: Path) -> None:
    from groundrl.experiments.config.rewards import build_reward, user_files
    from groundrl.experiments.recording.folder import RunFolder
    from groundrl.experiments.runs.pipeline import Pipeline

    files, reward = RunFolder(folder), build_reward(config, paths)
    pipeline = Pipeline(config, paths, files, reward, progress=False)
    files.create(config, paths, reward, user_files(config, paths), overwrite=False)
    pipeline.run()


def _requests() -> Iterator[dict[str, Any]]:
    """The lines of stdin; its end means that the sweep is gone, and a run must not go on without it."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def main() -> None:
    """Serve one sweep: FOLDER THREADS."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a run or a reward prints is no answer
    plan, threads = read_plan(Path(sys.argv[1])), int(sys.argv[2])
    for request in _requests():
        answer: dict[str, Any] = {"error": None}
        if "pilot" not in request:
            answer["error"] = attempt(plan, Job(**request), threads=threads)
        else:
            try:
                answer["pilot"] = run_pilot(plan, threads=threads)
            except Exception as error:  # it is said where the sweep was started
                traceback.print_exc()
                answer["error"] = traceback.format_exception_only(error)[-1].strip()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
