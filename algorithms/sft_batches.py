"""The batches of a supervised stage: which examples a step learns from, how they share a forward, loaded ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from groundrl.algorithms.settings import SFTSettings
from groundrl.rewards import ExampleSource
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.sequence_packing import fill_rows, join_batch, joined_length
from groundrl.rollout.io.order import visiting_order
from groundrl.rollout.model.loader import Loader

AHEAD = 2  # batches loaded while a step goes on
Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class StepSampler:
    """Indices of each step's examples for this rank, from the batch of `step` on."""

    def __init__(
        self, source: ExampleSource, settings: SFTSettings, *, rank: int, world_size: int, step: int = 0
    ) -> None:
        if settings.batch_size % world_size:
            raise ValueError(f"batch_size {settings.batch_size} is not divisible by {world_size} processes")
        self.order = visiting_order(source, seed=settings.seed)
        self.settings = settings
        self.rank = rank
        self.world_size = world_size
        self.step = step

    def __len__(self) -> int:
        return self.settings.steps - self.step

    def __iter__(self) -> Iterator[list[int]]:
        size = self.settings.batch_size
        for step in range(self.step, self.settings.steps):
            yield [self.order[step * size + row] for row in range(self.rank, size, self.world_size)]


class LoadedAhead(Generic[Item, Loaded]):
    """`load(item)` of each item in order, by a thread that is `AHEAD` of whoever iterates.

    A thread, not processes: images and tokenisers release Python's lock, and nothing has to be pickled. An exception
    comes out where its item would have.
    """

    def __init__(self, items: Iterable[Item], load: Callable[[Item], Loaded], *, count: int) -> None:
        self.items = items
        self.load = load
        self.count = count
        self._waited = 0.0

    def __iter__(self) -> Iterator[Loaded]:
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
            waiting: list[Future[Loaded]] = []
            try:
                for item in self.items:
                    waiting.append(pool.submit(self.load, item))
                    if len(waiting) > AHEAD:
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                for future in waiting:
                    future.cancel()

    def __len__(self) -> int:
        return self.count

    def since_asked(self) -> float:
        """Seconds that whoever iterates has stood and waited since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def _next(self, waiting: list[Future[Loaded]]) -> Loaded:
        start = time.perf_counter()
        batch = waiting.pop(0).result()
        self._waited += time.perf_counter() - start
        return batch


def micro_batches(loader: Loader, indices: list[int], settings: SFTSettings) -> list[Batch]:
    """The examples at these indices as the forwards of one step: padded rows, or full rows of joined samples."""
    loaded = [loader[index] for index in indices]
    prompts = [prompt for _, prompt in loaded]
    answers = [loader.policy.encode_answer(example.answer or "") for example, _ in loaded]
    if settings.pack_tokens:
        lengths = [joined_length(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        rows = fill_rows(lengths, settings.pack_tokens)
        return [join_batch(loader.policy, [prompts[k] for k in row], [answers[k] for k in row]) for row in rows]
    size = settings.micro_batch_size
    starts = range(0, len(indices), size)
    return [pad_batch(loader.policy, prompts[k : k + size], answers[k : k + size]) for k in starts]
