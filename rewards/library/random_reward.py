"""A control: a reward that knows nothing of the answer. What a run gains under it, training gives by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RandomReward(Reward):
    """0 or 1 with even chance, whatever the text: the coin of Spurious Rewards (arXiv 2506.10947).

    It is tossed by example, policy version and place in the group, so that a run repeats, and two equal answers differ.
    """

    def score(self, completion: Completion, example: Example) -> Score:
        """The coin of the first place."""
        return self.score_group((completion,), example)[0]

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """One coin for each place."""
        keys = (f"{example.id}/{completion.policy_version}/{place}" for place, completion in enumerate(completions))
        return [Score(value=float(hashlib.sha256(key.encode()).digest()[0] & 1)) for key in keys]
