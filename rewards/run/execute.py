"""How a reward is run over one group, and what happens when it fails.

The model's fault is the low end of the range. What is not its fault (`error`, `nonfinite`) is masked and counted, with
one warning that names the first offender; it is never a zero. An exception in a reward stops the run with the
completion shown, unless it is to be masked, up to a stated share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from groundrl.rewards.core.compose import scored
from groundrl.rewards.core.glossary import Completion, Example, Group, Score
from groundrl.rewards.core.reward import Reward, RewardError

OnError: TypeAlias = Literal["raise", "mask"]


def score_group(reward: Reward, group: Group) -> Group:
    """The group with its scores. RewardError, with the completion, where the reward raises or breaks its contract."""
    return replace(group, scores=tuple(score_completions(reward, group.completions, group.example, on_error="raise")))


def score_completions(
    reward: Reward, completions: Sequence[Completion], example: Example, *, on_error: OnError
) -> list[Score]:
    """One score for each completion; with `mask`, an exception becomes the status `error` of what it concerns."""
    try:
        return [_checked(reward, score) for score in scored(reward, completions, example)]
    except Exception as problem:  # user code may raise anything; it is shown or masked, never swallowed
        if len(completions) > 1 and not reward.groupwise:  # one at a time, to know whose fault it was
            return [
                score
                for completion in completions
                for score in score_completions(reward, (completion,), example, on_error=on_error)
            ]
        message = describe(reward, problem, completions, example)
        if on_error == "raise":
            raise RewardError(message) from problem
        return [Score(value=None, status="error", detail={"reason": message})] * len(completions)


def _checked(reward: Reward, score: Score) -> Score:
    lo, hi = reward.range
    if score.value is not None and not lo <= score.value <= hi:
        raise ValueError(f"reward {reward.name!r} gave {score.value}, outside its declared range ({lo}, {hi})")
    return score


def describe(reward: Reward, problem: object, batch: Sequence[Completion], example: Example) -> str:
    """What went wrong, in which reward, on which example and completion."""
    kind = f"{type(problem).__name__}: " if isinstance(problem, Exception) else ""
    text = batch[0].text if len(batch[0].text) <= 500 else batch[0].text[:500] + " ..."
    which = f"completion {text!r}" if len(batch) == 1 else f"{len(batch)} completions, the first {text!r}"
    part = next(iter(getattr(problem, "__notes__", ())), f"in reward {reward.name!r}").removeprefix("in ")
    return f"{part} failed on example {example.id!r}: {kind}{problem}\n  {which}"
