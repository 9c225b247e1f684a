"""Makes the runs of a sweep in parallel processes: each as soon as what it waits for is there."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from groundrl.experiments.ablation.plan import Job, Plan
from groundrl.experiments.ablation.worker import error_file
from groundrl.experiments.config.run import ConfigError
from groundrl.rollout.io.records import write_text

REFRESH = 1.0  # seconds between two looks at the runs


class WorkerDied(RuntimeError):
    """A worker process ended without an answer."""


class Worker:
    """One process that makes runs; it ends with its stdin."""

    def __init__(self, folder: Path, *, threads: int, log: Path) -> None:
        command = [sys.executable, "-m", "groundrl.experiments.ablation.worker", str(folder), str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                env=environment,
                start_new_session=True,  # an interruption of the sweep ends it through its stdin
            )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer; WorkerDied where it ended instead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerDied(f"the process ended with exit code {self.process.wait()}") from None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerDied(f"the process ended with exit code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()


class Workers:
    """As many workers as processes, started when first needed, replaced when they die.

    Each has the threads that the base names, else its share of torch's (`OMP_NUM_THREADS`, else the processors).
    """

    def __init__(self, plan: Plan, processes: int) -> None:
        self.plan = plan
        self.threads = plan.base.hardware.threads or max(1, torch.get_num_threads() // processes)
        self.free: queue.Queue[Worker | None] = queue.Queue()
        self.all: list[Worker] = []
        self.closing = False
        for _ in range(processes):
            self.free.put(None)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *problem: object) -> None:
        self.closing = True
        for worker in self.all:
            worker.close()

    def pilot(self) -> dict[str, Any]:
        """What `run_pilot` measured; ConfigError where it failed, for then every run would."""
        try:
            answer = self._ask({"pilot": True})
        except WorkerDied as died:
            raise ConfigError(f"the pilot steps failed: {died}; what it last said is in {self.log}") from None
        if answer["error"] is not None:
            raise ConfigError(f"the pilot steps failed: {answer['error']}")
        measured: dict[str, Any] = answer["pilot"]
        return measured

    def make(self, job: Job) -> str | None:
        """Make a run; None where it is complete, else what went wrong."""
        try:
            error: str | None = self._ask(vars(job))["error"]
        except WorkerDied as died:
            if not self.closing:
                write_text(f"{died}; what it last said is in {self.log}\n", error_file(self.plan, job))
            return str(died)
        return error

    @property
    def log(self) -> Path:
        """What the workers print."""
        return self.plan.folder / "workers.log"

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        worker = self.free.get()
        try:
            if worker is None:
                worker = Worker(self.plan.folder, threads=self.threads, log=self.log)
                self.all.append(worker)
            return worker.ask(request)
        except WorkerDied:
            worker = None
            raise
        finally:
            self.free.put(worker)


def run_all(
    plan: Plan,
    jobs: Sequence[Job],
    make: Callable[[Job], str | None],
    *,
    processes: int,
    watch: Callable[[dict[Job, str]], None] = lambda states: None,
) -> dict[Job, str]:
    """Make all jobs; job -> what went wrong, for those that failed or whose start did.

    `watch` is called each second with the state of every job: waiting, running, done, failed or left out.
    """
    states = {job: "done" if plan.done(job) else "waiting" for job in jobs}
    failed: dict[Job, str] = {}
    running: dict[Future[str | None], Job] = {}
    pool = ThreadPoolExecutor(processes)
    try:
        while True:
            for job in [job for job, state in states.items() if state == "waiting"]:
                first = plan.waits_for(job)
                if first in failed:
                    states[job], failed[job] = "left out", f"{first} failed"
                elif len(running) < processes and (first is None or states[first] == "done"):
                    states[job] = "running"
                    running[pool.submit(make, job)] = job
            watch(states)
            if not running:
                return failed
            for future in wait(running, timeout=REFRESH, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                problem = future.result()
                states[job] = "done" if problem is None else "failed"
                if problem is not None:
                    failed[job] = problem
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
