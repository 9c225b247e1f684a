"""Worker processes for slow or unsafe rewards: a deadline for each completion, and a new worker for one that fails.

A process, because nothing else can stop a verifier that hangs: alarm signals work on the main thread only.
"""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from groundrl.rewards.core.function import FunctionReward, load_module
from groundrl.rewards.core.glossary import Completion, Example, Group, Score
from groundrl.rewards.core.reward import Reward, RewardError, parts_of
from groundrl.rewards.run.execute import OnError, describe, score_completions

_START_SECONDS = 120.0


def portable(reward: Reward) -> bytes | None:
    """The reward as another process can load it, or None where it cannot (a notebook, a function in a function)."""
    main_has_file = hasattr(sys.modules["__main__"], "__file__")
    files: dict[str, str] = {}
    for part in parts_of(reward):
        owner = part.function if isinstance(part, FunctionReward) else type(part)
        if "<locals>" in owner.__qualname__ or (owner.__module__ == "__main__" and not main_has_file):
            return None
        if not owner.__module__.startswith("groundrl."):
            files[owner.__module__] = inspect.getsourcefile(owner) or ""
    try:
        return pickle.dumps((files, pickle.dumps(reward)))
    except (pickle.PicklingError, TypeError, AttributeError):  # what pickle raises for objects that it cannot take
        return None


class Pool:
    """Threads that each look after one worker process."""

    def __init__(self, reward: Reward, payload: bytes, *, workers: int, deadline: float) -> None:
        self.reward = reward
        self.payload = payload
        self.deadline = deadline
        self._own = threading.local()
        self._all: list[_Worker] = []
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="scorer")

    def submit(self, group: Group, *, step: int | None, on_error: OnError) -> Callable[[], Sequence[Score]]:
        """Begin to score a group; call what is returned to wait for its scores."""
        whole = self.reward.groupwise
        batches = [group.completions] if whole else [(completion,) for completion in group.completions]
        state = self.reward.state_dict()
        futures: list[Future[list[Score]]] = [
            self._threads.submit(self._score, (step, state, batch, group.example, on_error)) for batch in batches
        ]
        return lambda: [score for future in futures for score in future.result()]

    def _score(self, job: tuple[int | None, dict[str, Any], Sequence[Completion], Example, OnError]) -> list[Score]:
        """Runs on one of the threads: ask its worker, and judge what it means when no answer comes."""
        _, _, batch, example, _ = job
        worker = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = _Worker(self.payload)
            self._all.append(worker)
        try:
            reply = worker.ask(job, seconds=self.deadline * len(batch))
        except (TimeoutError, EOFError, OSError) as problem:
            worker.kill()
            self._own.worker = None
            if isinstance(problem, TimeoutError) and not self.reward.groupwise:
                return [Score(value=self.reward.range[0], detail={"reason": "deadline", "seconds": self.deadline})]
            late = isinstance(problem, TimeoutError)
            why = "no answer before the deadline" if late else "the worker process died"
            return [Score(value=None, status="error", detail={"reason": why})] * len(batch)
        if isinstance(reply, str):
            raise RewardError(reply)
        if reply is None:
            raise RewardError(describe(self.reward, "its scores cannot be sent between processes", batch, example))
        return reply

    def close(self) -> None:
        """End every worker, whatever it is doing."""
        for worker in self._all:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """One process with the reward loaded."""

    def __init__(self, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that torch's threads hold
        self.connection, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, payload), daemon=True)
        self.process.start()
        far.close()
        if not self.connection.poll(_START_SECONDS):
            raise RewardError(f"a reward worker did not start within {_START_SECONDS:.0f} s")
        if (problem := self.connection.recv()) is not None:
            raise RewardError(f"a reward worker could not load the reward: {problem}")

    def ask(self, job: object, *, seconds: float) -> list[Score] | str | None:
        """Its scores, or in words what the reward raised. TimeoutError after `seconds`, EOFError if it died."""
        self.connection.send(job)
        if not self.connection.poll(seconds):
            raise TimeoutError
        reply: list[Score] | str | None = self.connection.recv()
        return reply

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(connection: Connection, payload: bytes) -> None:
    """The life of a worker."""
    try:
        files, pickled = pickle.loads(payload)
        for name, file in files.items():
            load_module(name, file)
        reward: Reward = pickle.loads(pickled)
    except Exception as problem:  # importing a user's module may raise anything; the parent reports it
        connection.send(f"{type(problem).__name__}: {problem}")
        return
    connection.send(None)
    while True:
        try:
            step, state, batch, example, on_error = connection.recv()
        except EOFError:  # the parent is gone
            return
        if state:
            reward.load_state_dict(state)
        try:
            current = reward if step is None else reward.at(step)
            connection.send(score_completions(current, batch, example, on_error=on_error))
        except RewardError as problem:
            connection.send(str(problem))
        except (pickle.PicklingError, TypeError, AttributeError):
            connection.send(None)
