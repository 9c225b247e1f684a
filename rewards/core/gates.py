"""The algebra of rewards: gates, bounds, and weights that change with the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from groundrl.rewards.core.compose import Composed, bracketed, failed, missing
from groundrl.rewards.core.glossary import Score
from groundrl.rewards.core.reward import Reward, keep_name
from groundrl.rewards.core.schedules import Schedule


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Gate(Composed):
    """`reward`, but its low end wherever `condition` is below its own high end.

    A condition that abstains asks for nothing and lets the reward through.
    """

    condition: Reward
    reward: Reward

    def __post_init__(self) -> None:
        super().__post_init__()
        vars(self).update(name=self.reward.name, range=self.reward.range)

    @property
    def children(self) -> tuple[Reward, ...]:
        """The condition, then the reward."""
        return (self.condition, self.reward)

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The reward's value or, behind a shut gate, its low end."""
        if (problem := failed(scores)) is not None:
            return problem
        held, score = scores[self.condition.name], scores[self.reward.name]
        if score.value is None:
            return missing("abstain", scores, reason=f"{self.reward.name} abstains")
        if held.value is not None and held.value < self.condition.range[1]:
            return Score(value=self.range[0], parts=scores, detail={"reason": f"shut by {self.condition.name}"})
        return Score(value=score.value, parts=scores)

    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The same gate with other parts."""
        return Gate(condition=children[0], reward=children[1])

    def expression(self) -> str:
        """`gate(condition, reward)`."""
        return f"gate({self.condition!r}, {self.reward!r})"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Clip(Composed):
    """`reward` held within `[lo, hi]`."""

    reward: Reward
    lo: float
    hi: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.lo) and math.isfinite(self.hi) and self.lo < self.hi):
            raise ValueError(f"clip needs finite bounds with lo < hi, got {self.lo} and {self.hi}")
        low, high = (min(max(end, self.lo), self.hi) for end in self.reward.range)
        vars(self).update(name=self.reward.name, range=(low, high))

    @property
    def children(self) -> tuple[Reward, ...]:
        """The reward inside."""
        return (self.reward,)

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The reward's value, held within the bounds."""
        (score,) = scores.values()
        held = None if score.value is None else min(max(score.value, self.lo), self.hi)
        return replace(score, value=held, parts=scores)

    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The same bounds around another reward."""
        return Clip(reward=children[0], lo=self.lo, hi=self.hi)

    def expression(self) -> str:
        """`reward.clip(lo, hi)`."""
        return f"{bracketed(self.reward)}.clip({self.lo!r}, {self.hi!r})"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Scheduled(Composed):
    """`reward` times a weight that changes with the step; as it stands, at step 0."""

    reward: Reward
    weight: Schedule

    def __post_init__(self) -> None:
        super().__post_init__()
        ends = [weight * end for weight in (self.weight.start, self.weight.end) for end in self.reward.range]
        vars(self).update(name=self.reward.name, range=(min(ends), max(ends)))

    @property
    def children(self) -> tuple[Reward, ...]:
        """The reward inside."""
        return (self.reward,)

    def at(self, step: int) -> Reward:
        """The same reward with the weight that it has from this step on."""
        now = self.weight(step)
        return keep_name(self, Scheduled(reward=self.reward.at(step), weight=Schedule(now, now, 1)))

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The reward's value times the weight."""
        (score,) = scores.values()
        value = None if score.value is None else self.weight(0) * score.value
        return replace(score, value=value, parts=scores)

    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The same schedule on another reward."""
        return Scheduled(reward=children[0], weight=self.weight)

    def expression(self) -> str:
        """`reward.scheduled(weight)`."""
        return f"{bracketed(self.reward)}.scheduled({self.weight!r})"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AtLeast(Composed):
    """1 where `reward` is at least `threshold`, else 0."""

    reward: Reward
    threshold: float

    def __post_init__(self) -> None:
        super().__post_init__()
        vars(self).update(name=self.reward.name, range=(0.0, 1.0))

    @property
    def children(self) -> tuple[Reward, ...]:
        """The reward inside."""
        return (self.reward,)

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """Whether the reward reaches the threshold."""
        (score,) = scores.values()
        return replace(score, value=None if score.value is None else float(score.value >= self.threshold), parts=scores)

    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The same threshold for another reward."""
        return AtLeast(reward=children[0], threshold=self.threshold)


def gate(condition: Reward, reward: Reward) -> Gate:
    """`reward`, but its low end wherever `condition` is below its own high end."""
    return Gate(condition=condition, reward=reward)
