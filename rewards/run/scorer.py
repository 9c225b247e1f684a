"""The scorer: groups go in as they are sampled and come out scored, in the order in which they went in."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from groundrl.rewards.core.glossary import Group, Score
from groundrl.rewards.core.reward import GroundRLWarning, Reward, RewardError
from groundrl.rewards.run.execute import OnError, score_completions
from groundrl.rewards.run.pool import Pool, portable

Scores = Callable[[], Sequence[Score]]


class Scorer:
    """Scores groups as they are submitted and gives them back in that order.

    In this process, at once; or, with `workers` processes, while sampling goes on: there a completion that takes more
    than `deadline` seconds scores the low end, a worker that hangs or crashes is replaced, and what a crash took with
    it is masked. `on_error="mask"` turns exceptions of the reward into masked completions, up to `max_error_share` of
    all of them (in [0, 1]), beyond which the run stops after all. It also stops when `max_failed_groups` groups in a
    row had nothing but errors, returned or masked (a judge that is down): there is nothing to learn from. `counts` says
    how many completions had which status, how many met the deadline, and how many groups have fewer than two valid
    completions left (`groups_dropped`).
    """

    def __init__(
        self,
        reward: Reward,
        *,
        on_error: OnError = "raise",
        max_error_share: float = 0.1,
        max_failed_groups: int = 8,
        workers: int = 0,
        deadline: float = 10.0,
    ) -> None:
        if not 0.0 <= max_error_share <= 1.0:
            raise ValueError(f"max_error_share is a share, from 0 to 1, got {max_error_share}")
        if not 0 <= workers <= 256 or not deadline > 0:
            raise ValueError(f"workers must be in 0..256 and deadline above 0 seconds, got {workers} and {deadline}")
        if max_failed_groups < 1:
            raise ValueError(f"max_failed_groups is at least 1, got {max_failed_groups}")
        self.reward = reward
        self.counts: Counter[str] = Counter()
        self._on_error: OnError = on_error
        self._max_error_share = max_error_share
        self._max_failed_groups = max_failed_groups
        self._failed_in_a_row = 0
        self._step: int | None = None
        self._waiting: list[tuple[Group, Scores]] = []
        self._warned = False
        payload = portable(reward) if workers else None
        if workers and payload is None:
            why = "it, or a part of it, lives in a notebook or inside a function; move it to a file to use workers"
            warnings.warn(f"reward {reward.name!r} runs in this process: {why}", GroundRLWarning, stacklevel=2)
        self._pool = Pool(reward, payload, workers=workers, deadline=deadline) if payload is not None else None

    def set_step(self, step: int) -> None:
        """From here on score with the reward of this training step."""
        self._step = step

    def submit(self, group: Group) -> None:
        """Score this group.

        RewardError, here or in `results`, where the reward raises and errors are not masked, or nothing succeeds.
        """
        if self._pool is not None:
            self._waiting.append((group, self._pool.submit(group, step=self._step, on_error=self._on_error)))
            return
        current = self.reward if self._step is None else self.reward.at(self._step)
        scores = score_completions(current, group.completions, group.example, on_error=self._on_error)
        self._stop_if_nothing_succeeds(replace(group, scores=tuple(scores)))
        self._waiting.append((group, lambda: scores))

    def results(self) -> list[Group]:
        """The groups submitted since the last call, scored, in the order of submission.

        RewardError when more than `max_error_share` of all completions so far had an error that was masked.
        """
        waiting, self._waiting = self._waiting, []
        groups = []
        for group, scores in waiting:
            groups.append(replace(group, scores=tuple(scores())))
            if self._pool is not None:
                self._stop_if_nothing_succeeds(groups[-1])
        for group in groups:
            self._count(group)
        errors, completions = self.counts["error"], self.counts["completions"]
        if self._on_error == "mask" and errors > self._max_error_share * completions:
            share = f"{errors} of {completions} completions had an error, more than {self._max_error_share:.0%}"
            raise RewardError(f"{share} (max_error_share); {_first(groups)}")
        return groups

    def _stop_if_nothing_succeeds(self, group: Group) -> None:
        """RewardError once so many groups in a row had nothing but errors; said as soon as it is known."""
        failed = bool(group.scores) and all(score.status == "error" for score in group.scores or ())
        self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
        if self._failed_in_a_row >= self._max_failed_groups:
            count = f"every completion of the last {self._failed_in_a_row} groups had an error"
            raise RewardError(f"{count}, so there is nothing to learn from; mend it and resume: {_first([group])}")

    def _count(self, group: Group) -> None:
        scores = group.scores or ()
        statuses = Counter(score.status for score in scores)
        self.counts.update(statuses)
        self.counts.update(completions=len(scores), groups=1, groups_dropped=int(statuses["ok"] < 2))
        self.counts.update(deadline=sum(score.detail.get("reason") == "deadline" for score in scores))
        if (statuses["error"] or statuses["nonfinite"]) and not self._warned:
            self._warned = True
            warnings.warn(f"masked, not scored: {_first([group])}", GroundRLWarning, stacklevel=3)

    def state_dict(self) -> dict[str, Any]:
        """What the reward has learned and the counts so far, as JSON."""
        return {"reward": self.reward.state_dict(), "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.reward.load_state_dict(state["reward"])
        self.counts = Counter(state["counts"])

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _first(groups: Sequence[Group]) -> str:
    """The first masked completion of these groups, in words."""
    for group in groups:
        for completion, score in zip(group.completions, group.scores or (), strict=True):
            if score.status in ("error", "nonfinite"):
                what = f"status {score.status} ({_cause(score)}), completion {completion.text[:200]!r}"
                return f"example {group.example.id!r}, {what}"
    return "no masked completion in this batch"


def _cause(score: Score) -> str:
    """Why a score has no value; of a composed reward also what its part said."""
    own = str(score.detail.get("reason") or score.detail or score.status)
    part = next((part for part in score.parts.values() if part.status == score.status), None)
    return own if part is None else f"{own}: {_cause(part)}"
