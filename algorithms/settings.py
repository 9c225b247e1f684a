"""What a researcher sets for a stage. Defaults are what a good researcher would choose for a first run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages import ADVANTAGES
from groundrl.algorithms.critic import CriticSettings
from groundrl.algorithms.objectives import OBJECTIVES, ObjectiveSettings
from groundrl.algorithms.optimizers import OptimizerName
from groundrl.algorithms.schedules import ScheduleName
from groundrl.algorithms.window import Window
from groundrl.rollout.forward.forms import Update
from groundrl.rollout.sampling.engine import Sampling


@dataclass(frozen=True, kw_only=True)
class SFTSettings:
    """What a researcher sets for an SFT stage; `warmup` is a share of the steps."""

    steps: int
    batch_size: int = 64
    micro_batch_size: int = 64  # rows of one forward; the gradients of a step's micro-batches add up
    pack_tokens: int = 0  # join samples to rows of so many tokens, each row a forward; 0 pads
    optimizer: OptimizerName = "adamw"
    lr: float = 5e-4
    schedule: ScheduleName = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    checkpoint_every: int = 0  # steps; 0 writes none inside the stage
    keep_last: int = 2  # checkpoints; the one before the newest is there for when that is damaged
    keep_best: str | None = None  # a metric of which the policy with the best value is kept in `best/`
    max_bad_steps: int = 5  # updates in a row whose gradient is not finite and that are skipped before the run stops
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RLSettings:
    """What a researcher sets for an RL stage; `prompts_per_step` P and `group_size` G are over all processes."""

    name: str
    steps: int
    seed: int = 0
    advantage: str = "grpo"
    objective: str = "dapo"
    critic: CriticSettings | None = None  # for advantage gae
    prompts_per_step: int = 16
    group_size: int = 8
    epochs: int = 1
    micro_batch_tokens: int = 16_384  # a micro-batch's, prompts counted once where completions share them
    update: Update = "auto"  # the form of the log-probs' forward; auto is the cheapest that this model allows
    lr: float = 1e-6
    warmup_steps: int = 5
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    sampling: Sampling = field(default_factory=Sampling)
    clipping: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    dynamic_sampling: int = 0  # prompts a step may draw beyond P to replace groups without variance; 0 is off
    mask_truncated: bool = False  # do not learn from completions that ran into max_new_tokens
    on_error: Literal["raise", "mask"] = "raise"  # an exception in the reward: stop the run, or mask the completion
    reward_workers: int = 0  # processes that score while sampling goes on; 0 scores in this one
    reward_deadline: float = 10.0  # seconds a completion, with workers
    checkpoint_every: int = 0  # steps; 0 writes none inside the stage
    keep_last: int = 2  # checkpoints; the one before the newest is there for when that is damaged
    keep_best: str | None = None  # a metric of which the policy with the highest value is kept in `best/`
    max_bad_steps: int = 5  # updates in a row whose gradient is not finite and that are skipped before the run stops

    def __post_init__(self) -> None:
        known: dict[str, Sequence[str]] = {"advantage": [*ADVANTAGES], "objective": [*OBJECTIVES]}
        for key, names in known.items():
            if (name := getattr(self, key)) not in names:
                raise ValueError(f"{key}: there is no {name!r}; choose from {', '.join(names)}")
        if self.sampling.temperature == 0:
            raise ValueError("RL explores by sampling: temperature 0 is greedy, every group would be all equal")
        if self.sampling.truncates and self.clipping.importance_correction == "none":
            raise ValueError(
                "RL learns from what the policy itself samples: top_k, top_p and min_p draw from another distribution, "
                "and without importance_correction the gradient is wrong; leave them to evaluation"
            )
        if self.dynamic_sampling < 0:
            raise ValueError(f"dynamic_sampling is a number of prompts, at least 0, got {self.dynamic_sampling}")
        if self.dynamic_sampling and ADVANTAGES[self.advantage].beyond_group:
            raise ValueError(
                f"dynamic_sampling throws groups without variance away, but advantage {self.advantage} learns from "
                "them too: set it to 0"
            )
        if self.clipping.kl_in_reward and not ADVANTAGES[self.advantage].kl_in_reward:
            able = ", ".join(name for name, estimator in ADVANTAGES.items() if estimator.kl_in_reward)
            raise ValueError(
                f"kl_in_reward needs an advantage that takes rewards of tokens, one of {able}; "
                f"{self.advantage} would ignore it"
            )
        if (self.critic is None) == ADVANTAGES[self.advantage].needs_critic:
            users = " or ".join(name for name, estimator in ADVANTAGES.items() if estimator.needs_critic)
            raise ValueError(
                f"advantage {self.advantage} needs a critic: set critic, such as critic: {{}}; or choose another"
                if self.critic is None
                else f"advantage {self.advantage} has no use for a critic: set it to {users}, or leave critic out"
            )
        OBJECTIVES[self.objective].check(self.clipping)

    @property
    def estimator(self) -> Callable[[Window], Float[Tensor, "N T"]]:
        """The advantage of this name, with the critic's discount and decay where there is one."""
        if self.critic is None:
            return ADVANTAGES[self.advantage]
        return partial(ADVANTAGES[self.advantage], discount=self.critic.discount, decay=self.critic.decay)
