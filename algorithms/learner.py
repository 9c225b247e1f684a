"""The policy under Fabric: optimiser, accumulation over micro-batches and ranks, and the update's statistics."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor

from groundrl.algorithms.collect import Collecting, Logprobs
from groundrl.algorithms.critic import Critic, explained_variance, return_sums
from groundrl.algorithms.generators import generator_state, set_generator_state
from groundrl.algorithms.learn_batch import LearnBatch, StepTotals
from groundrl.algorithms.objectives import entropy_bonus
from groundrl.algorithms.settings import RLSettings
from groundrl.algorithms.window import Window, alone
from groundrl.rewards import Reward
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.forward.planner import Planner
from groundrl.rollout.model.policy import Policy


class Learner:
    """One optimiser step at a time. `step` is how many RL steps lie behind, `drawn` how many prompts they took."""

    def __init__(
        self,
        policy: Policy,
        reference: Logprobs | None,
        settings: RLSettings,
        fabric: Fabric,
        state: dict[str, Any] | None,
        reward: Reward,
    ) -> None:
        if settings.prompts_per_step % fabric.world_size:
            raise ValueError(
                f"prompts_per_step {settings.prompts_per_step} is not divisible by {fabric.world_size} processes"
            )
        self.policy = policy
        self.reward = reward
        self.settings = settings
        self.fabric = fabric
        policy.model.eval()  # no dropout in RL: sampler and trainer must agree
        policy.model.zero_grad(set_to_none=True)  # the last SFT step leaves its gradients behind
        module = CompletionLogprobs(
            policy, temperature=settings.sampling.temperature, entropy_grad=settings.clipping.entropy_coef > 0
        )
        optimizer = torch.optim.AdamW(
            [p for p in policy.model.parameters() if p.requires_grad],
            lr=settings.lr,
            weight_decay=settings.weight_decay,
        )
        self.planner = Planner(module, update=settings.update, tokens=settings.micro_batch_tokens)
        self.logprobs, self.optimizer = fabric.setup(module, optimizer)
        self.logprobs.eval()
        self.critic = Critic(policy, settings.critic, fabric, seed=settings.seed) if settings.critic else None
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda update: min(1.0, (update + 1) / max(1, settings.warmup_steps))
        )
        self.step = self.drawn = 0
        self.bad_steps = 0  # updates in a row that were skipped
        if state is not None:
            self._go_on(state)
        self.collecting = Collecting(
            reward=reward,
            logprobs=self.logprobs,
            reference=reference,
            values=self._with_values if self.critic is not None else None,
            keep_old=settings.epochs > 1,
            planner=self.planner,
            kl_in_reward=settings.clipping.kl_coef if settings.clipping.kl_in_reward else 0.0,
            mask_truncated=settings.mask_truncated,
            gather=self._every_rank if fabric.world_size > 1 else alone,
        )
        self._sums: dict[str, Any] = {}
        self._norms: list[float] = []
        self._gap = torch.zeros(())
        self._updates = 0
        self._explained = math.nan

    def _go_on(self, state: dict[str, Any]) -> None:
        """Stand where a checkpoint's `state_dict` stood."""
        self.step = state["step"]
        self.drawn = state.get("drawn", self.step * self.settings.prompts_per_step)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.policy.version = state["version"]
        self.reward.load_state_dict(state["reward"])
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
        self.bad_steps = state["bad_steps"]
        self.planner.resume(state["forms"])
        set_generator_state(state["generators"])

    def step_totals(self, window: Window) -> StepTotals:
        """The tokens and completions of all ranks that the step learns from."""
        counts = torch.stack([window.completion_mask_NT.sum(), window.completion_mask_NT.any(dim=1).sum().float()])
        tokens, completions = self._over_ranks(counts).tolist()
        return StepTotals(
            tokens=max(1.0, tokens),
            completions=max(1.0, completions),
            max_length=self.settings.sampling.max_new_tokens,
        )

    def prepare_critic(self, window: Window) -> None:
        """Compare the critic, where there is one, with the window's returns; at the first step it starts from them."""
        if self.critic is None:
            return
        sums = self._over_ranks(return_sums(window, discount=self.critic.settings.discount))
        self._explained = explained_variance(sums)
        if self.step == 0:
            self.critic.begin(float(sums[1] / sums[0].clamp(min=1)))

    def forward(
        self, batch: LearnBatch
    ) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"], Float[Tensor, "N T H"] | None]:
        """Log-probs, entropy, and the hidden states where a critic reads them."""
        if self.critic is None or self.critic.apart:
            return (*self.logprobs(batch.inputs), None)
        logprobs_NT, entropy_NT, hidden = self.logprobs(batch.inputs, hidden=True)
        return logprobs_NT, entropy_NT, hidden

    def accumulating(self, *, last: bool) -> AbstractContextManager[object]:
        """Gradients are exchanged between ranks only with the last micro-batch."""
        return self.fabric.no_backward_sync(self.logprobs, enabled=not last)

    def backward(
        self,
        loss: Float[Tensor, ""],
        stats: dict[str, Float[Tensor, ""]],
        logprobs_NT: Float[Tensor, "N T"],
        entropy_NT: Float[Tensor, "N T"],
        hidden: Float[Tensor, "N T H"] | None,
        batch: LearnBatch,
    ) -> None:
        """Add the micro-batch's gradients and statistics. Ranks are averaged, so its loss counts world_size times."""
        if self.settings.clipping.entropy_coef:
            loss = loss - self.settings.clipping.entropy_coef * entropy_bonus(entropy_NT, batch)
        value_loss = torch.zeros_like(loss)
        if self.critic is not None and not self.critic.apart:
            value_loss = self.critic.loss(batch, hidden)
        self.fabric.backward((loss + value_loss) * self.fabric.world_size)
        if self.critic is not None and self.critic.apart:
            with self.critic.adapted():
                value_loss = self.critic.loss(batch, None)
                self.fabric.backward(value_loss * self.fabric.world_size)
        mask = batch.completion_mask_NT
        with torch.no_grad():
            gap = ((logprobs_NT - batch.sampler_logprobs_NT).abs() * mask).max()
            sums = {
                **stats,
                "loss": loss.detach(),
                "value_loss": value_loss.detach(),
                "entropy": (entropy_NT * mask).sum(),
            }
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self._updates == 0:
            self._gap = torch.maximum(self._gap, gap.cpu())

    def update(self) -> None:
        """Clip and step. A gradient that is not finite never reaches the weights: the update is skipped and counted."""
        norm = self.fabric.clip_gradients(
            self.logprobs, self.optimizer, max_norm=self.settings.max_grad_norm, error_if_nonfinite=False
        )
        self._updates += 1
        if norm is None or not torch.isfinite(norm):
            self._skip(norm)
        else:
            self.bad_steps = 0
            self._norms.append(float(norm))
            if self.critic is None or self.step >= self.critic.settings.warmup_steps:
                self.optimizer.step()
                self.schedule.step()
                self.policy.version += 1
        if self.critic is not None:
            self.critic.update(max_norm=self.settings.max_grad_norm)
        self.optimizer.zero_grad(set_to_none=True)

    def _skip(self, norm: Tensor | None) -> None:
        self.bad_steps += 1
        if self.bad_steps >= self.settings.max_bad_steps:
            raise FloatingPointError(
                f"step {self.step + 1}: the gradient's norm is {norm}, and {self.bad_steps} updates in a row were "
                "skipped for that (max_bad_steps); lower lr or look at the rewards of these steps"
            )

    def finish_step(self, step_totals: StepTotals, *, drawn: int) -> dict[str, float]:
        """The update's metrics over all ranks: means over tokens and updates, and the largest gap.

        `drawn` is the number of prompts that the step took, over all ranks.
        """
        names = sorted(self._sums)
        sums = self._over_ranks(torch.stack([torch.as_tensor(self._sums[name]).float().cpu() for name in names]))
        totals = dict(zip(names, sums.tolist(), strict=True))
        loss, value_loss = totals.pop("loss") / self._updates, totals.pop("value_loss") / self._updates
        means = {name: value / (step_totals.tokens * self._updates) for name, value in totals.items()}
        gap = self.fabric.all_reduce(self._gap.to(self.fabric.device), reduce_op="max")
        statistics = {
            "loss": loss,
            **means,
            "ref_kl": means.get("ref_kl", 0.0),
            "grad_norm": sum(self._norms) / len(self._norms) if self._norms else math.nan,
            "updates/skipped": float(self._updates - len(self._norms)),
            "lr": float(self.schedule.get_last_lr()[0]),
            "sampler_gap": float(torch.as_tensor(gap)),
        }
        if self.critic is not None:
            statistics |= {"value_loss": value_loss, "explained_variance": self._explained}
        self.step += 1
        self.drawn += drawn
        self._reset()
        return statistics

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "version": self.policy.version,
            "drawn": self.drawn,
            "reward": self.reward.state_dict(),
            "critic": self.critic.state_dict() if self.critic is not None else None,
            "bad_steps": self.bad_steps,
            "forms": list(self.planner.forms),
            "generators": generator_state(),
        }

    @torch.no_grad()
    def _with_values(self, batch: Batch) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        assert self.critic is not None
        logprobs_NT, _, *hidden = self.logprobs(batch, hidden=not self.critic.apart)
        with self.critic.adapted():
            return logprobs_NT, self.critic.values(batch, hidden[0] if hidden else None)

    def _reset(self) -> None:
        self._sums, self._norms = {}, []
        self._gap = torch.zeros(())
        self._updates = 0

    def _every_rank(self, vector: Float[Tensor, "k"]) -> Float[Tensor, "ranks k"]:
        return torch.as_tensor(self.fabric.all_gather(vector.to(self.fabric.device))).cpu()

    def _over_ranks(self, values: Float[Tensor, "k"]) -> Float[Tensor, "k"]:
        total = self.fabric.all_reduce(values.to(self.fabric.device), reduce_op="sum")
        return torch.as_tensor(total).cpu()
