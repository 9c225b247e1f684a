"""Rewards for how long an answer is and how often it repeats itself; lengths are in sampled tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from groundrl.rewards.core.compose import failed, scored
from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.library.labels import LabelAccuracy

_NO_TOKENS = Score(value=None, status="abstain", detail={"reason": "the completion has no token ids"})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Overlong(Reward):
    """Soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13), in [-1, 0].

    0 up to `max_tokens - cache` tokens, then linear to -1 at `max_tokens`, -1 beyond.
    """

    name = "overlong"
    range = (-1.0, 0.0)
    max_tokens: int
    cache: int

    def __post_init__(self) -> None:
        if not 0 < self.cache <= self.max_tokens:
            raise ValueError(f"cache must be in 1..max_tokens ({self.max_tokens}), got {self.cache}")

    def score(self, completion: Completion, example: Example) -> Score:
        """By the number of tokens; abstains where they are not known."""
        if not completion.token_ids:
            return _NO_TOKENS
        over = len(completion.token_ids) - (self.max_tokens - self.cache)
        return Score(value=-min(max(over / self.cache, 0.0), 1.0), detail={"tokens": len(completion.token_ids)})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Repetition(Reward):
    """`max_penalty` times the share of word n-grams that are repeats (open-r1), in [max_penalty, 0]."""

    name = "repetition"
    ngram: int = 3
    max_penalty: float = -1.0

    def __post_init__(self) -> None:
        if self.ngram < 1 or not -math.inf < self.max_penalty < 0:
            raise ValueError(f"ngram is at least 1 and max_penalty below 0, got {self.ngram} and {self.max_penalty}")
        vars(self)["range"] = (self.max_penalty, 0.0)

    def score(self, completion: Completion, example: Example) -> Score:
        """0 for a text of fewer words than one n-gram."""
        words = completion.text.casefold().split()
        total = len(words) - self.ngram + 1
        if total < 1:
            return Score(value=0.0)
        unique = len(set(zip(*(words[k:] for k in range(self.ngram)), strict=False)))
        value = self.max_penalty * (1 - unique / total)
        return Score(value=value, detail={"ngrams": total, "unique": unique})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Length(Reward):
    """Shortness within the group: 0.5 - (length - shortest) / (longest - shortest), 0 where all are equal.

    In [-0.5, 0.5] (Kimi k1.5, arXiv 2501.12599, section 2.3.3); put it behind a gate to ask for correctness first.
    """

    name = "length"
    range = (-0.5, 0.5)

    def score(self, completion: Completion, example: Example) -> Score:
        """0: one completion is neither short nor long."""
        return self.score_group((completion,), example)[0]

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """By the number of tokens; abstains where they are not known."""
        lengths = [len(completion.token_ids) for completion in completions]
        shortest, longest = min(lengths, default=0), max(lengths, default=0)
        if not shortest:
            return [_NO_TOKENS] * len(lengths)
        if shortest == longest:
            return [Score(value=0.0)] * len(lengths)
        return [Score(value=0.5 - (length - shortest) / (longest - shortest)) for length in lengths]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CosineLength(Reward):
    """Correct answers earn more when short, wrong ones lose less when long (Yeo et al., arXiv 2502.03373, section 3).

    `end + (start - end)/2 * (1 + cos(pi * tokens / max_tokens))`: from 1 down to 0.5 where `correct` is at its high
    end, from -1 up to -0.5 elsewhere. In [-1, 1].
    """

    name = "cosine_length"
    range = (-1.0, 1.0)
    max_tokens: int
    correct: Reward = field(default_factory=LabelAccuracy)

    @property
    def children(self) -> tuple[Reward, ...]:
        """The reward that says what is correct."""
        return (self.correct,)

    def score(self, completion: Completion, example: Example) -> Score:
        """By the number of tokens; abstains where they are not known or correctness abstains."""
        (verdict,) = scored(self.correct, (completion,), example)
        parts = {self.correct.name: verdict}
        if (problem := failed(parts)) is not None:
            return problem
        if not completion.token_ids:
            return _NO_TOKENS
        right = verdict.value is not None and verdict.value >= self.correct.range[1]
        start, end = (1.0, 0.5) if right else (-1.0, -0.5)
        share = min(len(completion.token_ids) / self.max_tokens, 1.0)
        return Score(value=end + (start - end) / 2 * (1 + math.cos(math.pi * share)), parts=parts)
