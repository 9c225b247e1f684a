"""Micro-batches of an update: several groups up to a budget of tokens, each micro-batch in its cheapest form."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from groundrl.rewards import Completion, GroundRLWarning
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.costs import Costs, Lengths
from groundrl.rollout.forward.forms import SHARED, build, update_faults, update_obstacle
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt
from groundrl.rollout.settings import Update

Share = list[tuple[int, list[int]]]  # places of prompts, each with the numbers of its completions in this micro-batch


class Planner:
    """Micro-batches of at most `tokens` tokens. `forms` are those it chooses from."""

    def __init__(self, logprobs: CompletionLogprobs, *, update: Update, tokens: int) -> None:
        self.logprobs = logprobs
        self.policy: Policy = logprobs.policy
        self.update = update
        self.tokens = tokens
        self.settled = False
        obstacles = {form: update_obstacle(logprobs, form) for form in SHARED[update]}
        self.forms = self._allowed(obstacles)
        self.costs = Costs.of(self.policy) if self.forms != ("padded",) else None

    def settle(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Sequence[Completion]],
        gather: Callable[[Tensor], Tensor],
    ) -> None:
        """Once, on the first window: drop the forms that do not compute what the padded one does, on any process."""
        shared = [form for form in self.forms if form != "padded"]
        if self.settled or not shared:
            return
        self.settled = True
        index = max(range(len(prompts)), key=lambda k: (prompts[k].num_images > 0, len(prompts[k])))
        longest = sorted(completions[index], key=lambda completion: -len(completion.token_ids))[:2]
        faults = update_faults(self.logprobs, shared, prompts[index], longest)
        anywhere = gather(torch.tensor([float(faults[form] is not None) for form in shared])).amax(dim=0)
        elsewhere = "another process found it wrong"
        self.forms = self._allowed(
            {form: faults[form] or (elsewhere if bad else None) for form, bad in zip(shared, anywhere, strict=True)}
        )

    def resume(self, forms: Sequence[str]) -> None:
        """Go on with the forms that passed the check on the first window of all, so that the plan is the same."""
        self.forms, self.settled = tuple(form for form in self.forms if form in forms), True

    def batches(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[Completion]]
    ) -> Iterator[tuple[list[int], Batch]]:
        """Micro-batches with the rows they hold, which are numbered prompt by prompt."""
        size = len(completions[0])
        prompts = [copy.copy(prompt) for prompt in prompts]  # each group's own: an example may come twice in a window
        lengths = [[len(completion.token_ids) for completion in group] for group in completions]
        for share in self._shares([len(prompt) for prompt in prompts], lengths):
            groups = [(len(prompts[index]), [lengths[index][n] for n in numbers]) for index, numbers in share]
            form = self._cheapest(groups)
            pairs = [(index, number) for index, numbers in share for number in numbers]
            parts = [pairs] if form != "padded" else self._by_length(pairs, [len(p) for p in prompts], lengths)
            for part in parts:
                kept = [completions[index][number] for index, number in part]
                yield (
                    [index * size + number for index, number in part],
                    build(form, self.policy, [prompts[index] for index, _ in part], kept),
                )

    def _cheapest(self, groups: Lengths) -> str:
        if self.costs is None or len(self.forms) == 1:
            return self.forms[0]
        costs = self.costs
        return min(self.forms, key=lambda form: getattr(costs, form)(groups))

    def _shares(self, prompts: Sequence[int], completions: Sequence[Sequence[int]]) -> Iterator[Share]:
        """Groups of similar prompts up to the budget, prompts counted once; a group beyond it is taken apart."""
        share: Share = []
        room = self.tokens
        for index in sorted(range(len(prompts)), key=lambda index: (prompts[index], index)):
            whole = prompts[index] + sum(completions[index])
            if share and whole > room:
                yield share
                share, room = [], self.tokens
            if whole <= room:
                share.append((index, list(range(len(completions[index])))))
                room -= whole
            else:
                for numbers in cut(completions[index], self.tokens - prompts[index]):
                    yield [(index, numbers)]
        if share:
            yield share

    def _by_length(
        self, pairs: Sequence[tuple[int, int]], prompts: Sequence[int], completions: Sequence[Sequence[int]]
    ) -> Iterator[list[tuple[int, int]]]:
        """Rows sorted by the completion's length, so that little is padding, up to the budget with every prompt."""
        longest = max(prompts[index] for index, _ in pairs)
        part: list[tuple[int, int]] = []
        for index, number in sorted(pairs, key=lambda pair: (completions[pair[0]][pair[1]], pair)):
            if part and (len(part) + 1) * (longest + completions[index][number]) > self.tokens:
                yield part
                part = []
            part.append((index, number))
        yield part

    def _allowed(self, faults: Mapping[str, str | None]) -> tuple[str, ...]:
        """The forms without a fault, and padded where it may be chosen or must be."""
        shared = tuple(form for form, fault in faults.items() if fault is None)
        if not shared and faults:
            reason = next(fault for fault in faults.values() if fault is not None)
            if self.update != "auto":
                raise ValueError(f"update: {self.update} is not possible with this model: {reason}; set it to auto")
            warnings.warn(
                f"the update computes the prompt again for every completion, because with this model {reason}",
                GroundRLWarning,
                stacklevel=2,
            )
        return shared if self.update not in ("auto", "padded") else ("padded", *shared)


def cut(lengths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Numbers of completions in order, as many at a time as fit into `room` tokens, at least one."""
    part: list[int] = []
    used = 0
    for number, length in enumerate(lengths):
        if part and used + length > room:
            yield part
            part, used = [], 0
        part.append(number)
        used += length
    yield part
