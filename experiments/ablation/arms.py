"""What the arms of a sweep are: each a name and what it changes of the base; those that change nothing are named."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from groundrl.experiments.ablation.compare import FULL, START
from groundrl.experiments.ablation.settings import SweepSettings
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.rewards import build_reward
from groundrl.experiments.config.run import ConfigError, RunConfig
from groundrl.experiments.config.stage import NAME, RLStage
from groundrl.experiments.metrics.figures import figure
from groundrl.rewards import Factuality, Format, LabelAccuracy, MatchedIoU, Reward, SoftF1, parse_reward
from groundrl.rewards.core.compose import Sum

MORE_SFT = "more_sft"
# What each metric pays for by itself: an arm trained on that alone would be measured by its own reward.
OWN_REWARD: dict[str, type[Reward]] = {
    "iou_mean": MatchedIoU,
    "iou_best_of_n": MatchedIoU,
    "soft_f1": SoftF1,
    "label_accuracy": LabelAccuracy,
    "choice_accuracy": LabelAccuracy,
    "fact_f1": Factuality,
    "format_rate": Format,
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm. `changes`: dotted keys of the base to values."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.name == MORE_SFT:
            return "SFT goes on from the checkpoint, for the wall-clock of full's RL"
        return ", ".join(f"{key}: {value}" for key, value in self.changes.items()) or "the base as it is"


def make_arms(settings: SweepSettings, base: RunConfig, folder: Path) -> tuple[list[Arm], dict[str, str]]:
    """The arms that can differ from `full` and from each other, `full` first; and why each other one cannot.

    ConfigError for an arm that changes what all arms share, or is measured by its own reward.
    """
    reward = build_reward(base, folder)
    if reward is None:
        raise ConfigError("the base of a sweep needs a reward")
    parts = Parts(base, folder, reward)
    arms = [Arm(name=FULL)]
    for written in settings.arms:
        arms += _expand(written, parts)
    arms += [_control(name, parts) for name in settings.controls]
    kept: dict[str, Arm] = {}
    seen: dict[Any, str] = {}
    idle: dict[str, str] = {}
    for arm in arms:
        config = check_arm(arm, base)
        if arm.name in kept or arm.name in idle:
            raise ConfigError(f"two arms are called {arm.name!r}; give one another name")
        same = _what_it_does(arm, config, folder, settings.metric)
        if same in seen:
            idle[arm.name] = f"it cannot differ from `{seen[same]}`: both train on the same reward with the same keys"
        else:
            kept[arm.name], seen[same] = arm, arm.name
    return list(kept.values()), idle


def check_arm(arm: Arm, base: RunConfig) -> RunConfig:
    """The base as this arm changes it."""
    if not re.match(NAME, arm.name) or arm.name == START:
        raise ConfigError(f"an arm cannot be called {arm.name!r}: the name becomes a folder's, and {START!r} is taken")
    shared = [stage.name for stage in base.stages[: len(base.stages) - len(rl_stages(base))]]
    for key in arm.changes:
        first, *inside = key.split(".")
        if first == "stages" and inside and inside[0] in shared:
            raise ConfigError(f"arm {arm.name!r} changes {key}: all arms of a seed start from the same {inside[0]}")
        if first not in ("reward", "rewards", "stages") or inside[-1:] in (["data"], ["train"], ["name"], ["kind"]):
            raise ConfigError(f"arm {arm.name!r} changes {key}, which all arms share; change the base instead")
    return load_config(base.model_dump(mode="json"), arm.changes)[0]


def rl_stages(base: RunConfig) -> list[Any]:
    """What an arm runs: the first RL stage and all that follow; what comes before is run once per seed."""
    first = next((index for index, stage in enumerate(base.stages) if isinstance(stage, RLStage)), None)
    if first is None:
        raise ConfigError("the base of a sweep needs an RL stage")
    return list(base.stages[first:])


class Parts:
    """The base's reward taken apart: weights by part, and each part as it is written."""

    def __init__(self, base: RunConfig, folder: Path, reward: Reward) -> None:
        self.weights = dict(reward.weights)
        named = {
            name: build_reward(base.model_copy(update={"reward": name}), folder) for name in base.rewards if base.reward
        }
        children = reward.children if isinstance(reward, Sum) else (reward,)
        self.written = {part.name: self._written(part, named) for part in children}

    def sum(self, weights: Mapping[str, float]) -> str:
        """The reward with these weights, as it stands in a configuration."""
        return " + ".join(f"{weight!r}*{self.written[name]}" for name, weight in weights.items())

    def known(self, name: str) -> None:
        """ConfigError where the reward has no such part."""
        if name not in self.weights:
            raise ConfigError(f"the base's reward has no part {name!r}; its parts are {', '.join(self.weights)}")

    def several(self, word: str) -> None:
        """ConfigError where there is only one part."""
        if len(self.weights) < 2:
            raise ConfigError(f"{word} needs a reward that is a sum of parts; the base's is {', '.join(self.weights)}")

    def _written(self, part: Reward, named: Mapping[str, Reward | None]) -> str:
        for name, reward in named.items():
            if reward is not None and repr(reward) == repr(part):
                return name
        text = repr(part)
        try:
            parse_reward(text)
        except ValueError:
            raise ConfigError(f"the part {text} cannot be written by itself; name it under `rewards`") from None
        return f"({text})"


def _expand(written: str | Mapping[str, Any], parts: Parts) -> Iterator[Arm]:
    if isinstance(written, str):
        if written == FULL:
            return
        parts.several(written)
        for part, weight in parts.weights.items():
            if written == "add_one_in":
                yield Arm(name=f"only_{part}", changes={"reward": parts.sum({part: weight})})
            else:
                others = {name: value for name, value in parts.weights.items() if name != part}
                yield Arm(name=f"without_{part}", changes={"reward": parts.sum(others)})
    elif "grid" in written:
        yield from _grid(written, parts)
    elif "name" in written:
        changes = {key: value for key, value in written.items() if key != "name"}
        yield Arm(name=str(written["name"]), changes=changes)
    else:
        raise ConfigError(f"an arm needs a name: {dict(written)}")


def _grid(written: Mapping[str, Any], parts: Parts) -> Iterator[Arm]:
    """One arm for each combination of weights; parts that are not named keep theirs."""
    grid = written["grid"]
    if set(written) != {"grid"} or not isinstance(grid, dict) or not all(isinstance(w, list) for w in grid.values()):
        raise ConfigError("a grid is {grid: {part: [weight, ...], ...}}, with nothing beside it")
    for name in grid:
        parts.known(name)
    for weights in itertools.product(*grid.values()):
        chosen = dict(zip(grid, map(float, weights), strict=True))
        label = "-".join(f"{name}_{weight:g}" for name, weight in chosen.items())
        yield Arm(name=label, changes={"reward": parts.sum(parts.weights | chosen)})


def _control(name: str, parts: Parts) -> Arm:
    if name == MORE_SFT:
        return Arm(name=name)
    if name == "random_reward":
        return Arm(name=name, changes={"reward": "RandomReward()"})
    return Arm(name=name, changes={"reward": parts.written.get("format", "Format()")})


def _what_it_does(arm: Arm, config: RunConfig, folder: Path, metric: str) -> Any:
    """What an arm trains with, so that two that do the same are equal: parts of weight 0 add nothing."""
    if arm.name == MORE_SFT:
        return MORE_SFT
    reward = build_reward(config, folder)
    assert reward is not None
    if isinstance(reward, Sum):
        terms = sorted((term for term in reward.terms if term[0]), key=lambda term: term[1].name)
        if not terms:
            raise ConfigError(f"arm {arm.name!r} has no part with a weight other than 0")
        reward = replace(reward, terms=tuple(terms))
    alone = reward.children[0] if isinstance(reward, Sum) and len(reward.children) == 1 else reward
    if isinstance(alone, OWN_REWARD.get(figure(metric).base, ())):
        raise ConfigError(f"metric {metric} is the own reward of arm {arm.name!r}; choose one that no arm is paid for")
    return reward.fingerprint, tuple(stage.model_dump_json() for stage in config.stages)
