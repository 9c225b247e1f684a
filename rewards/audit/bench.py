"""Scores the audit's answers and keeps what went wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.spaces import BoxSpace
from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.run.execute import score_completions

COPIES = 2  # a group of one policy's answers, for a reward that looks at the whole group
_TOKEN = re.compile(r"[A-Za-z]{1,6}+|[^\sA-Za-z]")


@lru_cache(maxsize=512)
def completion(text: str, space: BoxSpace) -> Completion:
    """An answer as the policy would have sampled it.

    Its token ids stand in for a tokenizer's, so that rewards of length can be audited: one for each piece of a word,
    each digit and each sign, and one for the end. An answer that is the same for all examples is parsed once.
    """
    return Completion(text=text, box_space=space, token_ids=tuple(range(len(_TOKEN.findall(text)) + 1)))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A completion that the reward could not score, and why."""

    example_id: str
    text: str
    message: str


class Bench:
    """Scores answers with one reward; `problems` are those on which it raised or gave no finite number.

    A reward that looks at the whole group is given copies of one answer: what a policy earns that always answers so.
    Any other gets the answers to one example in one batch.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self.problems: list[Problem] = []

    def score(self, example: Example, texts: Sequence[str | None]) -> Float[np.ndarray, " K"]:
        """The value of each text as an answer; nan for None, for an abstention and where there is no number."""
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        batch = [completion(text, example.box_space) for text in distinct]
        scores: Sequence[Score]
        if self.reward.groupwise:
            scores = [self._scores([one] * COPIES, example)[0] for one in batch]
        else:
            scores = self._scores(batch, example) if batch else []
        values = {text: self._value(example, text, score) for text, score in zip(distinct, scores, strict=True)}
        return np.array([np.nan if text is None else values[text] for text in texts], dtype=np.float64)

    def _scores(self, batch: Sequence[Completion], example: Example) -> Sequence[Score]:
        return score_completions(self.reward, batch, example, on_error="mask")

    def _value(self, example: Example, text: str, score: Score) -> float:
        if score.status in ("error", "nonfinite"):
            message = str(score.detail.get("reason") or dict(score.detail) or score.status)
            self.problems.append(Problem(example_id=example.id, text=text, message=f"{score.status}: {message}"))
        return np.nan if score.value is None else score.value
