"""What a stage, an objective and a critic may be told: each key once, with its default, bound and meaning.

Defaults are what a good researcher would choose for a first run. The configuration's stages are made of these, and so
is the page of all keys. No torch: a configuration is checked without it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from groundrl.algorithms.schedules import ScheduleName
from groundrl.rollout.settings import LoraSettings, Settings, Update

OptimizerName = Literal["adamw", "muon"]
KLEstimator = Literal["k1", "k2", "k3"]
ImportanceCorrection = Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


class StageKeys(Settings):
    """What every stage may be told about its updates and checkpoints."""

    steps: int = Field(ge=1, description="Updates of the stage; in RL windows, each of `epochs` updates.")
    weight_decay: float = Field(default=0.0, ge=0.0, description="AdamW's decoupled decay.")
    max_grad_norm: float = Field(default=1.0, gt=0.0, description="A longer gradient is scaled down to this norm.")
    checkpoint_every: int = Field(default=50, ge=0, description="Steps; 0 writes none inside the stage.")
    keep_last: int = Field(
        default=2, ge=1, description="Checkpoints; the one before the newest is for when that is damaged."
    )
    keep_best: str | None = Field(
        default=None,
        description="The policy with the best value of this metric is kept in `best/`: one of metrics.jsonl, or "
        "`held_out/` and one of `evaluation.metrics` (SFT: or `held_out/loss`).",
    )
    max_bad_steps: int = Field(
        default=5, ge=1, description="Updates in a row, skipped for a gradient that is not finite, that stop the run."
    )


class SFTKeys(StageKeys):
    """What a supervised stage may be told."""

    batch_size: int = Field(default=64, ge=1, description="Samples of a step, over all processes.")
    micro_batch_size: int = Field(default=64, ge=1, description="Rows of one forward; their gradients add up.")
    pack_tokens: int = Field(
        default=0, ge=0, description="Join samples to rows of so many tokens, each row a forward; 0 pads."
    )
    optimizer: OptimizerName = Field(
        default="adamw", description="`muon` is for the hidden matrices, with AdamW for the rest."
    )
    lr: float = Field(default=1e-5, gt=0.0, description="The learning rate after warm-up.")
    schedule: ScheduleName = Field(default="cosine", description="What the learning rate does after warm-up.")
    warmup: float = Field(default=0.05, ge=0.0, le=1.0, description="A share of the steps, with a rising rate.")


class ObjectiveSettings(Settings):
    """The terms of an RL stage's loss."""

    clip_low: float | None = Field(
        default=None, ge=0.0, lt=1.0, description="How far below 1 a ratio may go; null: as in the objective's paper."
    )
    clip_high: float | None = Field(
        default=None,
        ge=0.0,
        description="How far above 1 a ratio may go, with `cispo` the largest weight itself; null: as in the "
        "objective's paper.",
    )
    dual_clip: float | None = Field(
        default=None, gt=1.0, description="Bounds the loss of a negative advantage at this multiple of it; null: none."
    )
    kl_coef: float = Field(default=0.0, ge=0.0, description="Weighs the KL to the stage's first policy; 0 is none.")
    kl_estimator: KLEstimator | None = Field(
        default=None, description="Of that KL; null: `k3` in the loss, `k1` in the reward."
    )
    kl_in_reward: bool = Field(default=False, description="The KL is taken off each token's reward, not a loss.")
    entropy_coef: float = Field(default=0.0, ge=0.0, description="Weighs the entropy bonus.")
    importance_correction: ImportanceCorrection = Field(
        default="none",
        description="Weigh tokens, or whole completions, by trainer over sampler probability; a weight above "
        "`importance_cap` becomes the cap (`truncate`) or 0 (`mask`).",
    )
    importance_cap: float = Field(default=2.0, ge=1.0, description="The largest weight; 1 is that of equal policies.")

    @model_validator(mode="after")
    def _kl_has_a_gradient(self) -> ObjectiveSettings:
        if self.kl_estimator == "k1" and not self.kl_in_reward:
            raise ValueError(
                "kl_estimator k1 is no loss, its expected gradient is 0: set kl_in_reward: true, or choose k2 or k3"
            )
        if self.kl_in_reward and self.kl_estimator not in (None, "k1"):
            raise ValueError(f"kl_in_reward uses k1, got kl_estimator {self.kl_estimator}: leave it out")
        return self

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """`(clip_low, clip_high)`, each that of the objective's paper, given here, where it is not set."""
        return (
            low if self.clip_low is None else self.clip_low,
            high if self.clip_high is None else self.clip_high,
        )

    @property
    def kl_in_loss(self) -> float:
        """The weight of the KL in the loss: 0 where it is in the reward."""
        return 0.0 if self.kl_in_reward else self.kl_coef


class CriticSettings(Settings):
    """What the critic of an RL stage may be told.

    The score comes with the last token, so with a `decay` below 1 early tokens learn from what the critic believes
    alone.
    """

    lr: float = Field(default=0.003, gt=0.0, description="The learning rate of its own AdamW.")
    warmup_steps: int = Field(default=1, ge=0, description="Steps in which it learns alone.")
    vf_coef: float = Field(
        default=0.0,
        ge=0.0,
        description="Weighs the gradient of its loss in the policy's own layers; with 0 the policy's features serve "
        "it, and it cannot disturb them.",
    )
    value_clip: float | None = Field(
        default=0.2, gt=0.0, description="How far a value may move in one window; null: as far as it likes."
    )
    discount: float = Field(default=1.0, ge=0.0, le=1.0, description="Gamma of GAE.")
    decay: float = Field(default=1.0, ge=0.0, le=1.0, description="Lambda of GAE.")
    lora: LoraSettings | None = Field(
        default=None, description="An adapter of its own on the policy's frozen weights, in place of `vf_coef`."
    )

    @model_validator(mode="after")
    def _one_way_into_the_layers(self) -> CriticSettings:
        if self.lora is not None and self.vf_coef:
            raise ValueError("critic.vf_coef is for the policy's own layers, critic.lora leaves them: set one of them")
        return self


class RLKeys(StageKeys):
    """What an RL stage may be told, beside how it samples and the terms of its loss."""

    advantage: str = Field(default="grpo", description="The advantage estimator, by its name in `ADVANTAGES`.")
    objective: str = Field(default="dapo", description="The loss, by its name in `OBJECTIVES`.")
    critic: CriticSettings | None = Field(
        default=None, description="PPO's critic, which the advantage `gae` needs; `{}` is one with its defaults."
    )
    prompts_per_step: int = Field(default=16, ge=1, description="P, prompts of a step over all processes.")
    group_size: int = Field(default=8, ge=2, description="G, completions of a prompt.")
    epochs: int = Field(default=1, ge=1, description="Updates from one window of samples.")
    micro_batch_tokens: int = Field(
        default=16_384,
        ge=1,
        description="Tokens of one forward, prompts counted once where completions share them.",
    )
    update: Update = Field(
        default="auto", description="The form of the update's forward; `auto` is the cheapest that the model allows."
    )
    lr: float = Field(default=1e-6, gt=0.0, description="The learning rate after warm-up, constant.")
    warmup_steps: int = Field(default=5, ge=0, description="Steps with a rising learning rate.")
    dynamic_sampling: int = Field(
        default=0, ge=0, description="Prompts a step may draw beyond P to replace groups without variance; 0 is off."
    )
    mask_truncated: bool = Field(
        default=False, description="Do not learn from completions that ran into `max_new_tokens`."
    )
    on_reward_error: Literal["raise", "mask"] = Field(
        default="raise", description="An exception in the reward: stop the run, or mask the completion."
    )
    reward_workers: int = Field(
        default=0, ge=0, le=256, description="Processes that score while sampling goes on; 0 scores in this one."
    )
    reward_deadline: float = Field(default=10.0, gt=0.0, description="Seconds for a completion, with workers.")
