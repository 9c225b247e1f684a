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
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

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
    """Batches of indices for this rank. Its state is the step: Lightning's checkpoints do not hold a sampler's."""

    def __init__(self, length: int, settings: SFTSettings, *, rank: int, world_size: int) -> None:
        if settings.batch_size % world_size:
            raise ValueError(f"batch_size {settings.batch_size} is not divisible by {world_size} processes")
        self.order = ShuffledOrder(length, seed=settings.seed)
        self.settings = settings
        self.rank = rank
        self.world_size = world_size
        self.step = 0

    def __iter__(self) -> Iterator[list[int]]:
        size = self.settings.batch_size
        for step in range(self.step, self.settings.steps):
            yield [self.order[step * size + row] for row in range(self.rank, size, self.world_size)]

    def __len__(self) -> int:
        return self.settings.steps - self.step


class SFTModule(lightning.LightningModule):
    """The policy under supervision; `record` gets one row of metrics a step."""

    def __init__(self, policy: Policy, sampler: StepSampler, settings: SFTSettings, record: Record) -> None:
        super().__init__()
        self.model = policy.model
        self.policy = policy
        self.sampler = sampler
        self.settings = settings
        self.record = record
        self._row: dict[str, float] = {}
        self._last = time.perf_counter()

    def training_step(self, batch: PaddedBatch, batch_idx: int) -> Tensor:
        """The mean loss over the answer tokens of the step, across ranks."""
        total, count = answer_loss(completion_logits(self.policy, batch), batch)
        everywhere = torch.as_tensor(self.all_gather(torch.stack([total.detach(), count]))).reshape(-1, 2).sum(dim=0)
        self._row["loss"] = float(everywhere[0] / everywhere[1])
        self.log("loss", self._row["loss"], prog_bar=True, logger=False)
        return total * self.trainer.world_size / everywhere[1]  # ranks are averaged: undo that

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the gradient's norm before it is clipped."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self._row["grad_norm"] = float(torch.nn.utils.get_total_norm(gradients))
        self._row["lr"] = float(optimizer.param_groups[0]["lr"])

    def record_step(self) -> None:
        """Record the step, called before its checkpoint is written; its seconds include loading the batch."""
        now = time.perf_counter()
        self.record({"stage_step": self.trainer.global_step, **self._row, "seconds/step": now - self._last})
        self._last = now

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
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning leaves out: the data position and the generator (dropout draws from it)."""
        checkpoint["groundrl"] = {"step": self.trainer.global_step, "generator": torch.get_rng_state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the next unseen batch and the generator where it stood."""
        self.sampler.step = checkpoint["groundrl"]["step"]
        torch.set_rng_state(checkpoint["groundrl"]["generator"])


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
    # A callback, not the module's own hook: that one runs after the checkpoint, and a kill in between would lose a row.
    recording = LambdaCallback(on_train_batch_end=lambda trainer, module, *rest: module.record_step())
    checkpoints = [ModelCheckpoint(folder, "{step:06d}", every_n_train_steps=settings.checkpoint_every, save_top_k=1)]
    trainer = lightning.Trainer(
        **hardware,
        precision="bf16-mixed" if policy.autocast_enabled else "32-true",
        max_steps=settings.steps,
        gradient_clip_val=settings.max_grad_norm,
        logger=False,
        callbacks=[recording, *(checkpoints if settings.checkpoint_every else [])],
        enable_progress_bar=False,  # `record` shows the progress, as in the RL stage
        enable_checkpointing=settings.checkpoint_every > 0,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    rank, world_size = trainer.global_rank, trainer.world_size
    sampler = StepSampler(len(loader.source), settings, rank=rank, world_size=world_size)

    def collate(batch: list[int]) -> PaddedBatch:
        loaded = [loader[index] for index in batch]
        answers = [policy.encode_answer(example.answer or "") for example, _ in loaded]
        return pad_batch(policy, [prompt for _, prompt in loaded], answers)

    batches: DataLoader[int] = DataLoader(
        range(len(loader.source)),  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=collate,
        generator=torch.Generator(),  # else each start draws a seed from the generator that dropout draws from
    )
    policy.model.train()
    newest = max(folder.glob("*.ckpt"), default=None) if folder.is_dir() else None
    trainer.fit(SFTModule(policy, sampler, settings, record), batches, ckpt_path=newest, weights_only=True)
    policy.model.eval()
    policy.version += settings.steps
