"""What asking has cost so far, and whether more may be asked: one account for all processes that share an endpoint."""

from __future__ import annotations

import atexit
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

_FORM = struct.Struct("<6qd")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Counters since the ledger was made: requests sent (retries among them), answers found in the cache, retries,
    completions with an error, and tokens as the server counts them.
    """

    requests: int = 0
    cache_hits: int = 0
    retries: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(**{name: count + getattr(other, name) for name, count in vars(self).items()})


class OverBudget(Exception):
    """No further request may be sent; the message says which budget is spent."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may be asked, None for no limit: requests and tokens in all, and requests a minute."""

    requests: int | None = None
    tokens: int | None = None
    per_minute: float | None = None

    def check(self, used: Usage) -> None:
        """OverBudget where a budget is spent. Tokens are known afterwards, so requests under way may overdraw them."""
        if self.requests is not None and used.requests >= self.requests:
            raise OverBudget(f"the budget of {self.requests} requests is spent (request_budget)")
        if self.tokens is not None and used.prompt_tokens + used.completion_tokens >= self.tokens:
            raise OverBudget(f"the budget of {self.tokens} tokens is spent (token_budget)")


@dataclass(frozen=True)
class Ledger:
    """A few numbers in a temporary file, changed under a lock; the process that made the ledger removes it at its end.

    A file, because reward workers are processes that may be killed at any time: they share what they have spent.
    """

    name: str = field(default_factory=lambda: os.urandom(8).hex())

    def __post_init__(self) -> None:
        atexit.register(_remove, self.path)  # here alone: a copy in another process is not made by this call

    @property
    def path(self) -> Path:
        """Where the numbers are."""
        return Path(tempfile.gettempdir()) / f"groundrl-usage-{self.name}"

    def read(self) -> Usage:
        """The counters now."""
        if not self.path.is_file():
            return Usage()
        with self._locked() as (usage, _, _):
            return usage

    def add(self, **counts: int) -> None:
        """Add to counters by name."""
        with self._locked() as (usage, turn, file):
            self._write(file, usage.plus(Usage(**counts)), turn)

    def take(self, limits: Limits, *, now: float, until: float) -> float | None:
        """Take the next turn to send one request: the time at which it may go, None where that is after `until`.

        Times are those of one monotonic clock of the machine. OverBudget where a budget is spent.
        """
        with self._locked() as (usage, turn, file):
            limits.check(usage)
            mine = max(now, turn)
            if mine > until:
                return None
            turn = mine + 60.0 / limits.per_minute if limits.per_minute is not None else turn
            self._write(file, replace(usage, requests=usage.requests + 1), turn)
            return mine

    @contextmanager
    def _locked(self) -> Iterator[tuple[Usage, float, int]]:
        import fcntl

        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        file = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            data = os.pread(file, _FORM.size, 0)
            *counts, turn = _FORM.unpack(data or bytes(_FORM.size))
            yield Usage(**dict(zip(vars(Usage()), counts, strict=True))), turn, file
        finally:
            os.close(file)

    def _write(self, file: int, usage: Usage, turn: float) -> None:
        os.pwrite(file, _FORM.pack(*vars(usage).values(), turn), 0)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
