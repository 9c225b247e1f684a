"""Asking an endpoint: in turn, again after a failure that may pass, and not beyond the deadline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from groundrl.rewards.http.cache import Cache, Reply
from groundrl.rewards.http.ledger import Ledger, Limits, OverBudget
from groundrl.rewards.http.threads import start
from groundrl.rewards.http.wire import Failure

FIRST_PAUSE = 0.5  # seconds, doubled for each further attempt
LONGEST_PAUSE = 30.0  # also of what a server may ask for by Retry-After
Body = Mapping[str, object]


@runtime_checkable
class Poster(Protocol):
    """What sends one request: an `Endpoint`."""

    def post(self, body: Body, *, timeout: float) -> Reply:
        """The reply, or a Failure."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time, so that a test can have its own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default_factory=lambda: random.Random().random)  # never the global generator


@dataclass(frozen=True, kw_only=True)
class Client:
    """Asks an endpoint within limits that all holders of the same ledger share."""

    endpoint: Poster
    ledger: Ledger
    cache: Cache | None
    limits: Limits
    retries: int
    timeout: float
    clock: Clock = field(default_factory=Clock)

    def ask_all(self, bodies: Mapping[str, Body], *, concurrency: int, deadline: float) -> dict[str, Reply | str]:
        """The reply to each request by its key, or in words why there is none; all within `deadline` seconds."""
        until = self.clock.now() + deadline
        outcomes: dict[str, Reply | str] = {}
        turns, ended = iter(list(bodies.items())), threading.Event()

        def work() -> None:
            while not ended.is_set() and (turn := next(turns, None)) is not None:
                outcomes[turn[0]] = self._outcome(*turn, until)

        workers = [start(work) for _ in range(min(concurrency, len(bodies)))]
        try:
            for worker in workers:
                with suppress(TimeoutError):
                    worker.result(timeout=max(0.0, until - self.clock.now()) + 1.0)
        finally:
            ended.set()  # a request under way ends by its own timeout, and holds up nobody
        return {key: outcomes.get(key, "no reply before the deadline") for key in bodies}

    def _outcome(self, key: str, body: Body, until: float) -> Reply | str:
        """The reply, kept in the cache, or in words why there is none."""
        try:
            reply = self.ask(body, until=until)
        except (Failure, OverBudget) as problem:
            return str(problem)
        if self.cache is not None:
            self.cache.put(key, reply)
        return reply

    def ask(self, body: Body, *, until: float) -> Reply:
        """The reply to one request, before `until` on the clock. Failure or OverBudget where there is none."""
        attempt = 0
        while True:
            self._wait_for_turn(until)
            try:
                reply = self.endpoint.post(body, timeout=max(0.001, min(self.timeout, until - self.clock.now())))
                self.ledger.add(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
                return reply
            except Failure as problem:
                pause = self.pause(attempt, problem.after)
                attempt += 1
                if not problem.again:
                    raise
                if attempt > self.retries:
                    raise Failure(f"{problem} (after {attempt} attempts)") from None
                if self.clock.now() + pause > until:
                    raise Failure(f"{problem} (after {attempt} attempts; the next would pass the deadline)") from None
            self.ledger.add(retries=1)
            self.clock.sleep(pause)

    def pause(self, attempt: int, asked: float) -> float:
        """Seconds before the next attempt: doubling, with jitter, and at least what the server asked for; bounded."""
        backoff = FIRST_PAUSE * 2.0**attempt * (0.5 + self.clock.jitter())
        return min(LONGEST_PAUSE, max(backoff, asked))

    def _wait_for_turn(self, until: float) -> None:
        now = self.clock.now()
        turn = self.ledger.take(self.limits, now=now, until=until)
        if turn is None:
            raise Failure("the deadline passed before a request could be sent (deadline, requests_per_minute)")
        if turn > now:
            self.clock.sleep(turn - now)
