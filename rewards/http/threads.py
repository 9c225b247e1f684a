"""A thread that does not hold the process at its end, as the threads of an executor do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start(call: Callable[[], T]) -> Future[T]:
    """Run `call` in a daemon thread; the future has what it returns or raises."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as problem:  # handed to whoever waits, as an executor does
            future.set_exception(problem)

    future.set_running_or_notify_cancel()  # from here on it cannot be cancelled
    threading.Thread(target=run, name="ask", daemon=True).start()
    return future
