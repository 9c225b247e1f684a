"""What `train_sft` and `train_rl` are given: the keys of `schema.py` with the stage's name and seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from groundrl.algorithms.advantages import ADVANTAGES
from groundrl.algorithms.objectives import OBJECTIVES
from groundrl.algorithms.schema import ObjectiveSettings, RLKeys, SFTKeys
from groundrl.algorithms.window import Window
from groundrl.rollout.settings import Sampling


class SFTSettings(SFTKeys):
    """What a researcher sets for an SFT stage."""

    seed: int = Field(default=0, description="Of the order of the examples.")


class RLSettings(RLKeys):
    """What a researcher sets for an RL stage."""

    name: str = Field(description="Of the stage; a part of what names its randomness.")
    seed: int = Field(default=0, description="Of the order of the examples and of all that is drawn.")
    sampling: Sampling = Field(default=Sampling(), description="How completions are drawn.")
    clipping: ObjectiveSettings = Field(default=ObjectiveSettings(), description="The terms of the loss.")

    @model_validator(mode="after")
    def _agree(self) -> RLSettings:
        check_together(self, self.sampling, self.clipping)
        return self

    @property
    def estimator(self) -> Callable[[Window], Float[Tensor, "N T"]]:
        """The advantage of this name, with the critic's discount and decay where there is one."""
        if self.critic is None:
            return ADVANTAGES[self.advantage]
        return partial(ADVANTAGES[self.advantage], discount=self.critic.discount, decay=self.critic.decay)


def check_together(keys: RLKeys, sampling: Sampling, terms: ObjectiveSettings) -> None:
    """ValueError where an RL stage's keys contradict each other, or name what there is not."""
    for key, name, known in (("advantage", keys.advantage, ADVANTAGES), ("objective", keys.objective, OBJECTIVES)):
        if name not in known:
            raise ValueError(f"{key}: there is no {name!r}; choose from {', '.join(known)}")
    if sampling.temperature == 0:
        raise ValueError("RL explores by sampling: temperature 0 is greedy, every group would be all equal")
    if sampling.truncates and terms.importance_correction == "none":
        raise ValueError(
            "RL learns from what the policy itself samples: top_k, top_p and min_p draw from another distribution, "
            "and without importance_correction the gradient is wrong; set it, or leave them to evaluation"
        )
    _check_advantage(keys, terms)
    OBJECTIVES[keys.objective].check(terms)


def _check_advantage(keys: RLKeys, terms: ObjectiveSettings) -> None:
    """What an estimator can do and needs stands beside it."""
    advantage = ADVANTAGES[keys.advantage]
    if keys.dynamic_sampling and advantage.beyond_group:
        raise ValueError(
            f"dynamic_sampling throws groups without variance away, but advantage {keys.advantage} learns from "
            "them too: set it to 0"
        )
    if terms.kl_in_reward and not advantage.kl_in_reward:
        able = ", ".join(name for name, estimator in ADVANTAGES.items() if estimator.kl_in_reward)
        raise ValueError(
            f"kl_in_reward needs an advantage that takes rewards of tokens, one of {able}; "
            f"{keys.advantage} would ignore it"
        )
    if (keys.critic is None) == advantage.needs_critic:
        users = " or ".join(name for name, estimator in ADVANTAGES.items() if estimator.needs_critic)
        raise ValueError(
            f"advantage {keys.advantage} needs a critic: set critic, such as critic: {{}}; or choose another"
            if keys.critic is None
            else f"advantage {keys.advantage} has no use for a critic: set it to {users}, or leave critic out"
        )
