"""Supervised fine-tuning on `lightning.Trainer`: imitate the gold answer, with loss on the answer alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from groundrl.algorithms.checkpoint import load_step, save_step
from groundrl.algorithms.generators import generator_state, set_generator_state
from groundrl.algorithms.optimizers import make_optimizer
from groundrl.algorithms.settings import SFTSettings
from groundrl.rollout.batches import PaddedBatch, pad_batch
from groundrl.rollout.loader import Loader, ShuffledOrder
from groundrl.rollout.logprobs import completion_logits
from groundrl.rollout.policy import Policy

Record = Callable[[Mapping[str, float]], None]


def answer_loss(logits: Float[Tensor, "N T V"], batch: PaddedBatch) -> tuple[Tensor, Tensor]:
    """`(sum, count)`: the summed cross-entropy over answer tokens, end token included, and their number.

    Prompt and padding carry no loss; float32 whatever the model computes in.
    """
    targets = batch.completion_ids.to(logits.device)
    mask = batch.completion_mask.to(logits.device)
    losses = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * mask.flatten()).sum(), mask.sum()


def cosine_with_warmup(step: int, *, steps: int, warmup: int) -> float:
    """The factor on the learning rate at `step` (from 0): linear up over `warmup` steps, then a half cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class StepSampler(Sampler[list[int]]):
    """Batches of indices for this rank, from the batch of `step` on."""

    def __init__(self, length: int, settings: SFTSettings, *, rank: int, world_size: int, step: int = 0) -> None:
        if settings.batch_size % world_size:
            raise ValueError(f"batch_size {settings.batch_size} is not divisible by {world_size} processes")
        self.order = ShuffledOrder(length, seed=settings.seed)
        self.settings = settings
        self.rank = rank
        self.world_size = world_size
        self.step = step

    def __iter__(self) -> Iterator[list[int]]:
        size = self.settings.batch_size
        for step in range(self.step, self.settings.steps):
            yield [self.order[step * size + row] for row in range(self.rank, size, self.world_size)]

    def __len__(self) -> int:
        return self.settings.steps - self.step


class SFTModule(lightning.LightningModule):
    """The policy under supervision. After each step `record` gets a row of metrics, then a checkpoint is written.

    `state` is that of the checkpoint from which the stage goes on. Checkpoints are not Lightning's, but those of RL.
    """

    def __init__(
        self, policy: Policy, settings: SFTSettings, *, record: Record, folder: Path, state: Mapping[str, Any] | None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # Lightning's accumulation would weigh micro-batches, not tokens, alike
        self.model = policy.model
        self.policy = policy
        self.settings = settings
        self.record = record
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

    def training_step(self, micro_batches: list[PaddedBatch], batch_idx: int) -> None:
        """One update from the mean loss over the answer tokens of the step, of all micro-batches and ranks."""
        count = self._everywhere(torch.stack([batch.completion_mask.sum() for batch in micro_batches]).sum())
        loss = torch.zeros((), device=self.device)
        for batch in micro_batches:
            total, _ = answer_loss(completion_logits(self.policy, batch), batch)
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

    def on_train_batch_end(self, outputs: Any, batch: list[PaddedBatch], batch_idx: int) -> None:
        """Record the step, then write its checkpoint: a kill in between loses nothing. Seconds include loading."""
        now, step = time.perf_counter(), self.start + self.trainer.global_step
        self.record({"stage_step": step, **self._row, "seconds/step": now - self._last})
        self._last = now
        every = self.settings.checkpoint_every
        if every and step % every == 0:
            if self.trainer.is_global_zero:
                save_step(self.policy, self._checkpoint(), self.folder, step, keep_last=self.settings.keep_last)
            self.trainer.strategy.barrier()

    def configure_optimizers(self) -> Any:
        """The optimiser with warm-up and cosine, one schedule step an update."""
        settings = self.settings
        optimizer = make_optimizer(
            self.model, name=settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay
        )
        steps, warmup = settings.steps, max(1, round(settings.warmup * settings.steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: cosine_with_warmup(step, steps=steps, warmup=warmup)
        )
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
) -> None:
    """Fine-tune `policy` in place. Checkpoints inside the stage go to `folder`; the newest is continued from."""
    assert loader.answers, "make the loader with answers=True, so that it refuses an example without one"
    hardware = dict(hardware or {"accelerator": "auto", "devices": 1})
    state = load_step(policy, folder)
    module = SFTModule(policy, settings, record=record, folder=folder, state=state)
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
    rank, world_size = trainer.global_rank, trainer.world_size
    sampler = StepSampler(len(loader.source), settings, rank=rank, world_size=world_size, step=module.start)

    def collate(batch: list[int]) -> list[PaddedBatch]:
        loaded = [loader[index] for index in batch]
        answers = [policy.encode_answer(example.answer or "") for example, _ in loaded]
        size = settings.micro_batch_size
        return [
            pad_batch(policy, [prompt for _, prompt in loaded[k : k + size]], answers[k : k + size])
            for k in range(0, len(batch), size)
        ]

    batches: DataLoader[int] = DataLoader(
        range(len(loader.source)),  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=collate,
        generator=torch.Generator(),  # else each start draws a seed from the generator that dropout draws from
    )
    policy.model.train()
    if module.start < settings.steps:
        trainer.fit(module, batches)
    policy.model.eval()
    policy.version += settings.steps
