"""How fast rewards are: the quickstart's reward on one core, and how the cost grows with the length of the text."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from groundrl.experiments.config.load import RECIPES
from groundrl.rewards import (
    Boxes,
    Completion,
    Example,
    Format,
    Group,
    LabelAccuracy,
    Reference,
    Reward,
    SoftF1,
    parse_boxes,
    pixel,
    score_group,
)
from groundrl.rollout.io.records import ExampleStore, completion_rows, write_table, write_text

_GROUPS, _COMPLETIONS, _BOXES, _REPEATS = 256, 8, 5, 5
_STEP = 16  # groups


def bench_rewards() -> dict[str, float]:
    """`completions_per_second` of 0.6 SoftF1 + 0.3 LabelAccuracy + 0.1 Format in this process, parsing included.

    Groups of 8 completions, 5 predicted and 5 true boxes each, the truth in pixels; best of 5 runs.
    `rescored_per_second`: `groundrl rescore` on as many, recorded, from reading the files to new advantages.
    `parse_ratio_1mb` is the time to parse 1 MB of answer over ten times the time for 100 kB: 1 where cost is linear.
    """
    groups = _groups()
    total = 0.6 * SoftF1() + 0.3 * LabelAccuracy() + 0.1 * Format()
    rates = []
    for _ in range(_REPEATS):
        fresh = [_unparsed(group) for group in groups]
        start = time.process_time()
        for group in fresh:
            score_group(total, group)
        rates.append(_GROUPS * _COMPLETIONS / (time.process_time() - start))
    return {
        "completions_per_second": max(rates),
        "rescored_per_second": _rescored(groups, total),
        "parse_ratio_1mb": _parse(1_000_000) / (10 * _parse(100_000)),
    }


def _rescored(groups: Sequence[Group], reward: Reward) -> float:
    """Completions a second of `groundrl rescore` on a run with these groups, from opening the files on."""
    from groundrl.experiments.analysis import open_log
    from groundrl.experiments.rescoring.rescore import rescore

    rates: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text((RECIPES / "quickstart.yaml").read_text(), folder / "config.yaml")
        ExampleStore(folder).add([group.example for group in groups])
        for step in range(len(groups) // _STEP):
            sampled = [_sampled(group, step, reward) for group in groups[step * _STEP : (step + 1) * _STEP]]
            rows = completion_rows(step + 1, sampled, [[0.0]] * _STEP * _COMPLETIONS, fingerprint="")
            write_table(rows, folder / "rollouts" / f"step-{step + 1:06d}.parquet")
        for _ in range(_REPEATS):
            start = time.process_time()
            found = rescore(open_log(folder), reward)
            rates.append(found.table.num_rows / (time.process_time() - start))
    return max(rates)


def _sampled(group: Group, step: int, reward: Reward) -> Group:
    """A scored group as a run records it: 64 tokens with log-probs each."""
    tokens: dict[str, Any] = {"token_ids": (7,) * 64, "sampled": (True,) * 64, "logprobs": (-0.5,) * 64}
    completions = tuple(replace(completion, **tokens) for completion in group.completions)
    key = f"0/rollout/rl/{step}/{group.example.id}"
    return score_group(reward, replace(group, completions=completions, seed_key=key))


def _groups() -> list[Group]:
    rng = np.random.default_rng(0)
    groups = []
    for index in range(_GROUPS):
        corner = rng.integers(0, 700, (_BOXES, 2))
        truth = np.hstack([corner, corner + rng.integers(20, 300, (_BOXES, 2))]).astype(np.float64)
        reference = Reference(label=f"{_BOXES} nuclei", boxes=Boxes(xyxy=truth * 0.064, space=pixel(64, 64)))
        texts = []
        for _ in range(_COMPLETIONS):
            boxes = (truth + rng.integers(-80, 80, truth.shape)).clip(0, 1000).astype(int)[rng.permutation(_BOXES)]
            written = ", ".join(f"[{', '.join(f'{value:03d}' for value in box)}]" for box in boxes.tolist())
            texts.append(f"{_BOXES} nuclei <box>[{written}]</box>")
        example = Example(id=str(index), prompt="", reference=reference)
        groups.append(Group(example=example, completions=tuple(Completion(text=text) for text in texts)))
    return groups


def _unparsed(group: Group) -> Group:
    """The same texts, with nothing parsed yet."""
    return Group(example=group.example, completions=tuple(Completion(text=c.text) for c in group.completions))


def _parse(characters: int) -> float:
    box = "[010, 020, 030, 040], "
    text = f"5 nuclei <box>[{box * (characters // len(box))}[1, 2, 3, 4]]</box>"
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.process_time()
        parse_boxes(text)
        best = min(best, time.process_time() - start)
    return best
