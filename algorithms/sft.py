"""Supervised fine-tuning on `lightning.Trainer`: imitate the gold answer, with loss on the answer alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.checkpoint import load_step, save_if_best, save_step
from groundrl.algorithms.generators import generator_state, set_generator_state
from groundrl.algorithms.optimizers import make_optimizer
from groundrl.algorithms.schedules import SCHEDULES
from groundrl.algorithms.settings import SFTSettings
from groundrl.algorithms.sft_batches import LoadedAhead, StepSampler, micro_batches
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.batches import PaddedBatch
from groundrl.rollout.forward.forms import update_obstacle
from groundrl.rollout.forward.logprobs import CompletionLogprobs, completion_logits
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy

Record = Callable[[Mapping[str, float]], None]
AfterUpdate = Callable[[int], Mapping[str, float]]


def answer_loss(logits: Float[Tensor, "N T V"], batch: PaddedBatch) -> tuple[Tensor, Tensor]:
    """`(sum, count)`: the summed cross-entropy over answer tokens, end token included, and their number.

    Prompt and padding carry no loss; float32 whatever the model computes in.
    """
    targets = batch.completion_ids.to(logits.device)
    mask = batch.completion_mask.to(logits.device)
    losses = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * mask.flatten()).sum(), mask.sum()


class BatchLoss:
    """`(sum, count)` of `answer_loss` for a batch of any form.

    Rows of their own go through the model's own head. Joined samples go through it in chunks, which never holds the
    logits of all tokens; only where that gives the model's own logits and where nothing but the mask decides what a
    token sees.
    """

    def __init__(self, policy: Policy, *, packed: bool) -> None:
        self.policy = policy
        self.logprobs: CompletionLogprobs | None = None
        if packed:
            everything = torch.ones_like(policy.allowed)  # cross-entropy is over the whole vocabulary
            self.logprobs = CompletionLogprobs(policy, temperature=1.0, allowed=everything)
            if (reason := update_obstacle(self.logprobs, "packed")) is not None:
                raise ValueError(f"pack_tokens: samples of this model cannot share a row: {reason}; set it to 0")

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """With gradients where they are on."""
        if self.logprobs is None:
            assert isinstance(batch, PaddedBatch)
            return answer_loss(completion_logits(self.policy, batch), batch)
        logprobs, _ = self.logprobs(batch)
        return -logprobs.sum(), batch.completion_mask.sum().to(logprobs.device)


def held_out_loss(policy: Policy, loader: Loader, settings: SFTSettings, *, rank: int, world_size: int) -> Tensor:
    """`[sum, count]`: the loss over this rank's share of the gold answers, without learning from them.

    `policy` is in evaluation mode. Divide the sums over ranks to get the mean over tokens.
    """
    loss = BatchLoss(policy, packed=settings.pack_tokens > 0)
    mine = [index for index in range(rank, len(loader.source), world_size) if loader.get(index) is not None]
    result = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, len(mine), settings.batch_size):
            for batch in micro_batches(loader, mine[start : start + settings.batch_size], settings):
                result += torch.stack([value.double().cpu() for value in loss(batch)])
    return result


class SFTModule(lightning.LightningModule):
    """The policy under supervision. After each step `record` gets a row of metrics, then a checkpoint is written.

    `state` is that of the checkpoint from which the stage goes on. Checkpoints are not Lightning's, but those of RL.
    """

    def __init__(
        self,
        policy: Policy,
        settings: SFTSettings,
        *,
        record: Record,
        after_update: AfterUpdate,
        folder: Path,
        state: Mapping[str, Any] | None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # Lightning's accumulation would weigh micro-batches, not tokens, alike
        self.model = policy.model
        self.policy = policy
        self.settings = settings
        self.batch_loss = BatchLoss(policy, packed=settings.pack_tokens > 0)
        self.record = record
        self.after_update = after_update
        self.folder = folder
        self.state = state
        self.start = state["step"] if state is not None else 0
        self.bad_steps = state["bad_steps"] if state is not None else 0
        self._row: dict[str, float] = {}
        self._last = time.perf_counter()

    def on_train_start(self) -> None:
        """Put the generators where they stood: dropout draws from them."""
        if self.state is not None:
            set_generator_state(self.state["generators"])

    def training_step(self, batches: list[Batch], batch_idx: int) -> None:
        """One update from the mean loss over the answer tokens of the step, of all micro-batches and ranks."""
        count = self._everywhere(torch.stack([batch.completion_mask.sum() for batch in batches]).sum())
        loss = torch.zeros((), device=self.device)
        for batch in batches:
            total, _ = self.batch_loss(batch)
            self.manual_backward(total * self.trainer.world_size / count)  # ranks are averaged: undo that
            loss += total.detach()
        self._row["loss"] = float(self._everywhere(loss) / count)
        optimizer: Any = self.optimizers()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule: Any = self.lr_schedulers()
        schedule.step()

    def _everywhere(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Its sum over ranks."""
        return torch.as_tensor(self.all_gather(value.to(self.device))).sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the gradient's norm and clip it. One that is not finite is dropped: the update is skipped."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        self._row |= {"grad_norm": norm, "lr": float(optimizer.param_groups[0]["lr"])}
        self._row["updates/skipped"] = float(not math.isfinite(norm))
        self.bad_steps = 0 if math.isfinite(norm) else self.bad_steps + 1
        if self.bad_steps >= self.settings.max_bad_steps:
            raise FloatingPointError(
                f"the gradient's norm is {norm}, and {self.bad_steps} updates in a row were skipped for that "
                "(max_bad_steps); lower lr or look at the data of these steps"
            )
        if self.bad_steps:
            optimizer.zero_grad(set_to_none=True)
        self.clip_gradients(optimizer, gradient_clip_val=self.settings.max_grad_norm)

    def on_train_batch_end(self, outputs: Any, batch: list[Batch], batch_idx: int) -> None:
        """Evaluate, record the step, then write its checkpoint: a kill in between loses nothing.

        Seconds of a step include waiting for its data (`seconds/data`), not the evaluation.
        """
        now, step = time.perf_counter(), self.start + self.trainer.global_step
        waited = self.trainer.train_dataloader.since_asked()  # type: ignore[union-attr]  # it is LoadedAhead
        timing = {"seconds/step": now - self._last, "seconds/data": waited}
        self.model.eval()
        held_out = self.after_update(step)
        self.model.train()
        row = {"stage_step": step, **self._row, **held_out, **timing}
        self.record(row)
        if self.trainer.is_global_zero:
            save_if_best(self.policy, self.folder, metric=self.settings.keep_best, metrics=row, step=step)
        every = self.settings.checkpoint_every
        if every and step % every == 0:
            if self.trainer.is_global_zero:
                save_step(self.policy, self._checkpoint(), self.folder, step, keep_last=self.settings.keep_last)
            self.trainer.strategy.barrier()
        self._last = time.perf_counter()

    def configure_optimizers(self) -> Any:
        """The optimiser with warm-up and schedule, one step of it an update."""
        settings = self.settings
        optimizer = make_optimizer(
            self.model, name=settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay
        )
        steps, warmup = settings.steps, max(1, round(settings.warmup * settings.steps))
        factor = SCHEDULES[settings.schedule]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, steps=steps, warmup=warmup))
        if self.state is not None:
            optimizer.load_state_dict(self.state["optimizer"])
            schedule.load_state_dict(self.state["schedule"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "schedule": self.trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "generators": generator_state(),
            "bad_steps": self.bad_steps,
        }


def train_sft(
    policy: Policy,
    loader: Loader,
    settings: SFTSettings,
    *,
    record: Record,
    folder: Path,
    hardware: Mapping[str, Any] | None = None,
    after_update: AfterUpdate = lambda step: {},
) -> None:
    """Fine-tune `policy` in place. Checkpoints inside the stage go to `folder`; the newest is continued from.

    `after_update` is called on every rank after a step's update, the model in evaluation mode, and may return further
    metrics for `record`.
    """
    assert loader.answers, "make the loader with answers=True, so that it refuses an example without one"
    hardware = dict(hardware or {"accelerator": "auto", "devices": 1})
    state = load_step(policy, folder)
    module = SFTModule(policy, settings, record=record, after_update=after_update, folder=folder, state=state)
    trainer = lightning.Trainer(
        **hardware,
        precision="bf16-mixed" if policy.autocast_enabled else "32-true",
        max_steps=settings.steps - module.start,
        logger=False,
        enable_progress_bar=False,  # `record` shows the progress, as in the RL stage
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    ranks = {"rank": trainer.global_rank, "world_size": trainer.world_size}
    sampler = StepSampler(loader.source, settings, **ranks, step=module.start)
    batches = LoadedAhead(sampler, lambda indices: micro_batches(loader, indices, settings), count=len(sampler))
    policy.model.train()
    if module.start < settings.steps:
        trainer.fit(module, batches)
    policy.model.eval()
    policy.version += settings.steps
