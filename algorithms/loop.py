"""The RL loop: sample groups, score them, estimate advantages, update, record. Start reading at `train_rl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor

from groundrl.algorithms.checkpoint import load_step, save_if_best, save_step
from groundrl.algorithms.collect import collect, epochs
from groundrl.algorithms.dynamic_sampling import Draw
from groundrl.algorithms.learner import Learner
from groundrl.algorithms.metrics import Clock, reward_metrics
from groundrl.algorithms.objectives import OBJECTIVES
from groundrl.algorithms.reference import make_reference
from groundrl.algorithms.replay import Replay
from groundrl.algorithms.settings import RLSettings
from groundrl.algorithms.window import Window, compact
from groundrl.rewards import Group, Reward, Scorer
from groundrl.rollout.io.order import visiting_order
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.engine import Engine


@dataclass(frozen=True, kw_only=True)
class RLStep:
    """What one step leaves behind: all ranks' scored groups in prompt order, their advantages, and the metrics."""

    step: int
    groups: tuple[Group, ...]
    advantages: tuple[tuple[float, ...], ...]  # for each completion; one number where it is the same for every token
    metrics: dict[str, float]


def train_rl(
    policy: Policy,
    engine: Engine,
    loader: Loader,
    reward: Reward,
    settings: RLSettings,
    *,
    fabric: Fabric,
    record: Callable[[RLStep], None],
    folder: Path,
    after_update: Callable[[int], dict[str, float]] = lambda step: {},
) -> None:
    """Train `policy` in place from `reward`, continuing from the newest checkpoint in `folder` where there is one.

    `after_update` is called on every rank after a step's update (to evaluate, say) and may return further metrics, then
    `record` on rank 0, then the checkpoint is written. A killed run goes on bit by bit as if it had not been: windows
    between the checkpoint and the kill are replayed from their files.
    """
    reference = make_reference(policy, temperature=settings.sampling.temperature) if settings.clipping.kl_coef else None
    learner = Learner(policy, reference, settings, fabric, load_step(policy, folder), reward)
    estimator, objective = settings.estimator, OBJECTIVES[settings.objective]
    order = visiting_order(loader.source, seed=settings.seed)
    replay = Replay(folder, reward, settings, fabric)
    with make_scorer(reward, settings) as scorer:
        for step in range(learner.step, settings.steps):
            clock = Clock()
            engine.sync(policy.weights(), policy.version)
            scorer.set_step(step)
            draw = Draw(loader, order, settings, fabric, step=step, start=learner.drawn)
            replay.restore(draw)
            while draw.unfinished:
                for group in draw.sample(engine):
                    scorer.submit(group)
                draw.keep(scorer.results())
            replay.write(draw)
            clock.lap("sample")
            window = collect(draw.groups, policy, learner.collecting)
            advantages_NT = estimator(window)
            clock.lap("score")
            totals = learner.step_totals(window)
            learner.prepare_critic(window)
            for batches in epochs(window, advantages_NT, totals, count=settings.epochs, planner=learner.planner):
                for batch in batches:
                    with learner.accumulating(last=batch is batches[-1]):
                        logprobs_NT, entropy_NT, hidden = learner.forward(batch)
                        loss, stats = objective(logprobs_NT, batch, settings.clipping)
                        learner.backward(loss, stats, logprobs_NT, entropy_NT, hidden, batch)
                learner.update()
            clock.lap("update")
            groups, advantages = gather(fabric, window, advantages_NT)
            reward.observe([*draw.discarded, *(score for group in groups for score in group.scores or ())])
            metrics = learner.finish_step(totals, drawn=draw.drawn) | reward_metrics(groups, reward.at(step))
            metrics |= draw.metrics(groups) | clock.metrics(groups) | after_update(learner.step)
            if fabric.is_global_zero:
                record(RLStep(step=learner.step, groups=groups, advantages=advantages, metrics=metrics))
                save(policy, learner, metrics, settings, folder)
            fabric.barrier()


def save(policy: Policy, learner: Learner, metrics: Mapping[str, float], settings: RLSettings, folder: Path) -> None:
    """The step's checkpoint where one is due, and the policy where it is the best so far."""
    save_if_best(policy, folder, metric=settings.keep_best, metrics=metrics, step=learner.step)
    if settings.checkpoint_every and learner.step % settings.checkpoint_every == 0:
        save_step(policy, learner.state_dict(), folder, learner.step, keep_last=settings.keep_last)


def gather(
    fabric: Fabric, window: Window, advantages_NT: Float[Tensor, "N T"]
) -> tuple[tuple[Group, ...], tuple[tuple[float, ...], ...]]:
    """All ranks' groups in prompt order with the advantages of their completions in the same order."""
    per_group = [
        compact(advantages_NT[row : row + window.group_size], window.completion_mask_NT[row : row + window.group_size])
        for row in range(0, len(advantages_NT), window.group_size)
    ]
    mine = list(zip(window.groups, per_group, strict=True))
    if fabric.world_size > 1:
        ranks: list[list[tuple[Group, list[tuple[float, ...]]]]] = [[] for _ in range(fabric.world_size)]
        torch.distributed.all_gather_object(ranks, mine)
        mine = [rank[index] for index in range(len(mine)) for rank in ranks]
    groups = tuple(replace(group, index=index) for index, (group, _) in enumerate(mine))
    return groups, tuple(advantage for _, advantages in mine for advantage in advantages)


def make_scorer(reward: Reward, settings: RLSettings) -> Scorer:
    """What scores the groups, here or in processes of its own."""
    return Scorer(
        reward, on_error=settings.on_reward_error, workers=settings.reward_workers, deadline=settings.reward_deadline
    )
