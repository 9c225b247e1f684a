"""What a researcher sets for a stage. Defaults are what a good researcher would choose for a first run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from groundrl.algorithms.objectives import ObjectiveSettings
from groundrl.rollout.engine import Sampling


@dataclass(frozen=True, kw_only=True)
class SFTSettings:
    """What a researcher sets for an SFT stage; `warmup` is a share of the steps."""

    steps: int
    batch_size: int = 64
    lr: float = 5e-4
    warmup: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    checkpoint_every: int = 0  # steps; 0 writes none inside the stage
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RLSettings:
    """What a researcher sets for an RL stage; `prompts_per_step` P and `group_size` G are over all processes."""

    name: str
    steps: int
    seed: int = 0
    advantage: str = "grpo"
    objective: str = "dapo"
    prompts_per_step: int = 16
    group_size: int = 8
    epochs: int = 1
    micro_batch_size: int = 64
    lr: float = 1e-6
    warmup_steps: int = 5
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    sampling: Sampling = field(default_factory=Sampling)
    clipping: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    on_error: Literal["raise", "mask"] = "raise"  # an exception in the reward: stop the run, or mask the completion
    reward_workers: int = 0  # processes that score while sampling goes on; 0 scores in this one
    reward_deadline: float = 10.0  # seconds a completion, with workers
    checkpoint_every: int = 0  # steps; 0 writes none inside the stage

    def __post_init__(self) -> None:
        if self.sampling.temperature == 0:
            raise ValueError("RL explores by sampling: temperature 0 is greedy, every group would be all equal")
        if self.sampling.truncates:
            raise ValueError(
                "RL learns from what the policy itself samples: top_k, top_p and min_p draw from another distribution, "
                "and without importance correction the gradient is wrong; leave them to evaluation"
            )
