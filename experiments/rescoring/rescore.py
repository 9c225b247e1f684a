"""Recorded completions under another reward, without a model: totals, parts, advantages, and what it would change."""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages import ADVANTAGES
from groundrl.algorithms.window import Window, compact, score_tensors
from groundrl.experiments.config.stage import RLStage
from groundrl.experiments.recording.rollouts import origin
from groundrl.experiments.rescoring.log import Log
from groundrl.experiments.rescoring.rescore_summary import compare, most_changed, recorded_parts
from groundrl.rewards import Completion, Group, Reward
from groundrl.rewards.run.execute import score_completions
from groundrl.rollout.io.records import write_table, write_text


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """A log under another reward.

    `table` has one row a completion: `step`, `group`, `example_id`, `text`, `old` and `new` (totals, null where there
    is none), `status`, `parts/<name>` (new), `old_advantage` and `new_advantage` (lists as in rollouts: one number
    where it is the same for every token; null where it is not known). `summary`: what changed, as numbers; `changed`:
    the completions that changed most.
    """

    table: pa.Table
    summary: dict[str, Any]
    changed: list[dict[str, Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table as one dict a completion."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

    def write(self, folder: Path) -> None:
        """Write `rescored.parquet` and `rescore.json` (the summary and what changed most) into a folder."""
        write_table(self.table, folder / "rescored.parquet")
        content = {"schema": 1, **self.summary, "changed": self.changed}
        write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", folder / "rescore.json")


def rescore(log: Log, reward: Reward) -> Rescored:
    """Every completion of a log under `reward`, with new advantages by the log's own estimator.

    Schedules are at the step at which a group was sampled, and a reward that learns from its scores learns again as it
    goes. Advantages are worked out from scores: where the estimator needs what is not recorded (a critic's values, a KL
    penalty) the new ones are null and the summary says so. RewardError where the reward fails; ValueError for a log
    without completions.
    """
    if not log.table.num_rows:
        raise ValueError(f"{log.name} has no recorded completions: nothing to score again")
    own = copy.deepcopy(reward)
    steps, notes = [], []
    for (_, (stage, step)), sampled in groupby(log.groups(), key=lambda found: (found[0], origin(found[1]))):
        settings, current = log.stages[stage], own.at(step)
        with _collection_paused():
            groups = [_scored(current, group, settings) for _, group in sampled]
            own.observe([score for group in groups for score in group.scores or ()])
            note = _unrecorded(settings)
            steps.append(_columns(groups, None if note else advantages(groups, own, settings)))
            notes += [said for said in (note, None if note else _alone(groups, settings)) if said]
    new = pa.concat_tables(steps, promote_options="permissive")
    table = _beside(log.table, new)
    summary = {
        "source": log.name,
        "reward": repr(reward),
        "fingerprint": reward.fingerprint,
        "advantage": sorted({stage.advantage for stage in log.stages.values()}),
        "notes": [*log.notes, *dict.fromkeys(notes)],
        **compare(table),
        "recorded_parts": recorded_parts(log.table),
    }
    return Rescored(table=table, summary=summary, changed=most_changed(table, log.table))


def advantages(groups: Sequence[Group], reward: Reward, stage: RLStage) -> list[list[float]]:
    """The advantages of one step's scored groups, in order, as rollouts record them."""
    rewards_PG, valid_PG, parts = score_tensors(groups, reward)
    mask_NT = _mask(groups, stage, rewards_PG.shape[1]) * valid_PG.flatten()[:, None]
    window = Window(
        groups=tuple(groups),
        prompts=(),
        rewards_PG=rewards_PG,
        valid_PG=valid_PG,
        completion_mask_NT=mask_NT,
        sampler_logprobs_NT=torch.zeros_like(mask_NT),
        parts=parts,
        weights=dict(reward.weights),
    )
    estimated = ADVANTAGES[stage.advantage](window)
    one = mask_NT.shape[1] == 1
    rows = [(value,) for value in estimated[:, 0].tolist()] if one else compact(estimated, mask_NT)
    size = window.group_size
    return [list(rows[p * size + k]) for p, group in enumerate(groups) for k in range(len(group.completions))]


@contextmanager
def _collection_paused() -> Iterator[None]:
    """No garbage collection inside: a step's many small objects would have it walk over the whole log, again and again.

    It takes a quarter of the time otherwise.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _scored(reward: Reward, group: Group, stage: RLStage) -> Group:
    scores = score_completions(reward, group.completions, group.example, on_error=stage.on_reward_error)
    return Group(example=group.example, completions=group.completions, scores=tuple(scores))


def _mask(groups: Sequence[Group], stage: RLStage, size: int) -> Float[Tensor, "N T"]:
    """What is learned from. One token stands for all where an estimator gives all the same; a place is 0 if empty."""
    every: list[Completion | None] = [
        completion for group in groups for completion in (*group.completions, *[None] * (size - len(group.completions)))
    ]
    widest = max(len(completion.sampled) for completion in every if completion is not None)
    per_token = ADVANTAGES[stage.advantage].beyond_group
    if not per_token and not stage.mask_truncated:
        return torch.tensor([[float(completion is not None)] for completion in every])
    mask = torch.zeros(len(every), max(1, widest) if per_token else 1)
    for row, completion in enumerate(every):
        if completion is None or (stage.mask_truncated and completion.finish_reason == "length"):
            continue
        if mask.shape[1] == 1 or not completion.sampled:
            mask[row, 0] = 1.0
        else:
            mask[row, : len(completion.sampled)] = torch.tensor(completion.sampled, dtype=torch.float32)
    return mask


def _unrecorded(stage: RLStage) -> str | None:
    """What the stage's estimator needs and a log does not hold; None where scores are enough."""
    estimator = ADVANTAGES[stage.advantage]
    if estimator.needs_critic:
        return f"no new advantages: {stage.advantage} needs the critic's values, which are not recorded"
    if stage.kl_in_reward and stage.kl_coef and estimator.kl_in_reward:
        return f"no new advantages: {stage.advantage} here takes a KL penalty from the reward, which is not recorded"
    return None


def _alone(groups: Sequence[Group], stage: RLStage) -> str | None:
    """Said where an estimator compares the completions of a group, and each group of a step is of one completion."""
    if ADVANTAGES[stage.advantage].beyond_group or any(len(group.completions) > 1 for group in groups):
        return None
    return f"new advantages are 0 where each prompt has one completion: {stage.advantage} has none to compare it with"


def _columns(groups: Sequence[Group], estimated: list[list[float]] | None) -> pa.Table:
    """One step's new scores and advantages."""
    scores = [score for group in groups for score in group.scores or ()]
    known: Sequence[list[float] | None] = estimated or [None] * len(scores)
    names = dict.fromkeys(name for score in scores for name in score.parts)
    parts = {name: [score.parts[name].value if name in score.parts else None for score in scores] for name in names}
    return pa.table(
        {
            "new": pa.array([score.value for score in scores], pa.float64()),
            "status": [score.status for score in scores],
            **{f"parts/{name}": pa.array(values, pa.float64()) for name, values in parts.items()},
            "new_advantage": pa.array(known, pa.list_(pa.float64())),
        }
    )


def _beside(recorded: pa.Table, new: pa.Table) -> pa.Table:
    """What was recorded, under the names of `Rescored.table`, beside the new columns."""
    old = {"old": ("reward", pa.float64()), "old_advantage": ("advantage", pa.list_(pa.float64()))}
    columns = {name: recorded[name] for name in ("step", "group", "example_id", "text")}
    for name, (recorded_name, kind) in old.items():
        there = recorded_name in recorded.column_names
        columns[name] = recorded[recorded_name].cast(kind) if there else pa.nulls(len(recorded), kind)
    return pa.table({**columns, **{name: new[name] for name in new.column_names}})
