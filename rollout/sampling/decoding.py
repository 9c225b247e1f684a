"""One batch of answers, written token by token until each has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundrl.rollout.forward.cache import attention_obstacle
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt
from groundrl.rollout.sampling.drawing import cumulative_dtype, draw, processed_scores
from groundrl.rollout.sampling.states import GroupState, OwnState, State
from groundrl.rollout.settings import Sampling


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The tokens of one completion with the log-probs of what they were drawn from; `stopped`: not cut by length."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stopped: bool


class Decoding:
    """`group_size` answers to each of P prompts. Iterate: `(prompt's place, its answers)` as groups finish.

    `uniforms` is each answer's noise, N = P*G rows in prompt order. Rows are numbered by the answer they write; `rows`
    are those still in the batch, and one that ends leaves it.
    """

    def __init__(
        self,
        policy: Policy,
        prompts: Sequence[Prompt],
        *,
        group_size: int,
        sampling: Sampling,
        uniforms: Float[np.ndarray, "N T"],
    ) -> None:
        device, shape = policy.device, (len(prompts) * group_size, sampling.max_new_tokens)
        policy.model.eval()
        kind = GroupState if attention_obstacle(policy) is None else OwnState
        self.state: State = kind(policy, prompts, group_size=group_size, max_new_tokens=sampling.max_new_tokens)
        self.policy = policy
        self.group_size = group_size
        self.sampling = sampling
        self.noise = torch.from_numpy(uniforms).to(device=device, dtype=cumulative_dtype(device))
        self.forbidden = torch.zeros(len(policy.allowed)).masked_fill(~policy.allowed, -torch.inf).to(device)
        self.ends = torch.tensor([*policy.end_ids, *sampling.stop_tokens], device=device)
        self.ids = torch.zeros(shape, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(shape, device=device)
        self.length = torch.full((shape[0],), sampling.max_new_tokens, device=device)
        self.stopped = torch.zeros(shape[0], dtype=torch.bool, device=device)
        self.unfinished = [group_size] * len(prompts)
        self.rows = torch.arange(shape[0], device=device)
        self.done = torch.zeros_like(self.stopped)  # of each row in the batch: has ended, but not left yet
        self.token = 0
        self.chosen: Tensor | None = None  # what the rows wrote last; None before the first token

    def __iter__(self) -> Iterator[tuple[int, list[Answer]]]:
        while any(self.unfinished):
            # Not held over a yield: the caller must not find itself in inference mode or in another precision.
            with torch.inference_mode(), self.policy.autocast():
                finished = self._until_a_group_ends()
            for place in finished:
                yield place, self._answers(place)

    @property
    def cache_bytes(self) -> int:
        """The size of the key-value cache."""
        return self.state.bytes

    def _until_a_group_ends(self) -> list[int]:
        """Write tokens until at least one group has ended; the places of those that have."""
        while True:
            logits = self.state.prefill() if self.chosen is None else self.state.step(self.chosen)
            self.chosen, ended = self._write(logits)
            self.token += 1
            finished = self._note(ended) if ended.any() else []
            if self.token == self.sampling.max_new_tokens:
                cut = [place for place, count in enumerate(self.unfinished) if count]
                self.unfinished = [0] * len(self.unfinished)
                return finished + cut
            self._compact()
            if finished:
                return finished

    def _write(self, logits: Float[Tensor, "n V"]) -> tuple[Int[Tensor, "n"], Bool[Tensor, "n"]]:
        """Draw each row's next token; it, and which rows end with it."""
        scores = processed_scores(logits, self.forbidden, self.sampling)
        chosen, logprobs = draw(scores, self.noise[self.rows, self.token] if self.sampling.temperature > 0 else None)
        self.ids[self.rows, self.token] = chosen
        self.logprobs[self.rows, self.token] = logprobs
        ended = (chosen[:, None] == self.ends).any(dim=1)
        if self.sampling.stop:
            ended |= self._holds_a_stop_string()
        return chosen, ended & ~self.done

    def _holds_a_stop_string(self) -> Bool[Tensor, "n"]:
        """Whether the text of a row's newest tokens holds a stop string: as many tokens as it has bytes reach back."""
        reach = max(len(text.encode()) for text in self.sampling.stop)
        tails = self.ids[self.rows, max(0, self.token + 1 - reach) : self.token + 1].tolist()
        texts = self.policy.tokenizer.batch_decode(tails, clean_up_tokenization_spaces=False)
        found = [any(stop in text for stop in self.sampling.stop) for text in texts]
        return torch.tensor(found, device=self.rows.device)

    def _note(self, ended: Bool[Tensor, "n"]) -> list[int]:
        """Mark answers as ended; the groups that are complete with them."""
        rows = self.rows[ended]
        self.length[rows] = self.token
        self.stopped[rows] = True
        self.done |= ended
        for row in rows.tolist():
            self.unfinished[row // self.group_size] -= 1
        touched = dict.fromkeys(row // self.group_size for row in rows.tolist())
        return [place for place in touched if self.unfinished[place] == 0]

    def _compact(self) -> None:
        """Let rows that have ended leave: rows from the end of the batch take their places."""
        alive = (~self.done).nonzero()[:, 0]
        if len(alive) in (0, len(self.rows)) or len(alive) > self.state.compact_at * len(self.rows):
            return
        inside = alive[alive < len(alive)]
        order = torch.arange(len(alive), device=alive.device)
        order[self.done[: len(alive)]] = alive[len(inside) :]
        self.state.keep(order)
        assert self.chosen is not None
        self.rows, self.done, self.chosen = self.rows[order], self.done[order], self.chosen[order]

    def _answers(self, place: int) -> list[Answer]:
        rows = slice(place * self.group_size, (place + 1) * self.group_size)
        found = zip(
            self.ids[rows].tolist(),
            self.logprobs[rows].tolist(),
            self.length[rows].tolist(),
            self.stopped[rows].tolist(),
            strict=True,
        )
        return [
            Answer(ids=tuple(ids[:length]), logprobs=tuple(logprobs[:length]), stopped=stopped)
            for ids, logprobs, length, stopped in found
        ]
