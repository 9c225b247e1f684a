"""How rewards are run over groups, and what happens when one fails.

The model's fault is the low end of the range. What is not its fault (`error`, `nonfinite`) is masked and counted, with
one warning that names the first offender; it is never a zero. An exception in a reward stops the run with the
completion shown, unless it is to be masked, up to a stated share.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Literal

from groundrl.rewards.compose import scored
from groundrl.rewards.glossary import Completion, Example, Group, Score
from groundrl.rewards.reward import GroundRLWarning, Reward, RewardError

OnError = Literal["raise", "mask"]


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
    return f"reward {reward.name!r} failed on example {example.id!r}: {kind}{problem}\n  {which}"


class Scorer:
    """Scores groups as they are submitted and gives them back in that order.

    `on_error="mask"` turns exceptions of the reward into masked completions, up to `max_error_share` of all of them
    (in [0, 1]), beyond which the run stops after all. `counts` says how many completions had which status, and how
    many groups have fewer than two valid completions left (`groups_dropped`).
    """

    def __init__(self, reward: Reward, *, on_error: OnError = "raise", max_error_share: float = 0.1) -> None:
        if not 0.0 <= max_error_share <= 1.0:
            raise ValueError(f"max_error_share is a share, from 0 to 1, got {max_error_share}")
        self.reward = reward
        self.counts: Counter[str] = Counter()
        self._on_error: OnError = on_error
        self._max_error_share = max_error_share
        self._current = reward
        self._done: list[Group] = []
        self._warned = False

    def set_step(self, step: int) -> None:
        """From here on score with the reward of this training step."""
        self._current = self.reward.at(step)

    def submit(self, group: Group) -> None:
        """Score this group. RewardError where the reward raises and errors are not masked."""
        scores = score_completions(self._current, group.completions, group.example, on_error=self._on_error)
        self._done.append(replace(group, scores=tuple(scores)))

    def results(self) -> list[Group]:
        """The groups submitted since the last call, scored, in the order of submission.

        RewardError when more than `max_error_share` of all completions so far had an error that was masked.
        """
        groups, self._done = self._done, []
        for group in groups:
            self._count(group)
        errors, completions = self.counts["error"], self.counts["completions"]
        if self._on_error == "mask" and errors > self._max_error_share * completions:
            share = f"{errors} of {completions} completions had an error, more than {self._max_error_share:.0%}"
            raise RewardError(f"{share} (max_error_share); {first(groups)}")
        self.reward.observe([score for group in groups for score in group.scores or ()])
        return groups

    def _count(self, group: Group) -> None:
        statuses = Counter(score.status for score in group.scores or ())
        self.counts.update(statuses)
        self.counts.update(completions=len(group.completions), groups=1, groups_dropped=int(statuses["ok"] < 2))
        if (statuses["error"] or statuses["nonfinite"]) and not self._warned:
            self._warned = True
            warnings.warn(f"masked, not scored: {first([group])}", GroundRLWarning, stacklevel=3)

    def state_dict(self) -> Mapping[str, object]:
        """The state of the reward and the counts, as JSON."""
        return {"reward": self.reward.state_dict(), "counts": dict(self.counts)}

    def close(self) -> None:
        """Let go of what scoring holds."""

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def first(groups: Sequence[Group]) -> str:
    """The first masked completion of these groups, in words."""
    for group in groups:
        for completion, score in zip(group.completions, group.scores or (), strict=True):
            if score.status in ("error", "nonfinite"):
                reason = score.detail.get("reason") or score.detail or score.status
                what = f"status {score.status} ({reason}), completion {completion.text[:200]!r}"
                return f"example {group.example.id!r}, {what}"
    return "no masked completion in this batch"
