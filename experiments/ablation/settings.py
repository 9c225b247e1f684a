"""What a sweep's YAML says: a base run, arms that each change something, controls, one metric, seeds."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from groundrl.experiments.config.load import load_config, read_config
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.config.stage import NAME
from groundrl.experiments.metrics.figures import check_figure, figure
from groundrl.rewards.expression import nearest
from groundrl.rollout.settings import Settings

ARM_WORDS = ("full", "leave_one_out", "add_one_in")
Control = Literal["more_sft", "random_reward", "format_only"]


class SweepSettings(Settings):
    """One sweep: a base run, arms that each change something of it, controls, one metric, seeds."""

    name: str = Field(pattern=NAME, description="Of the sweep's folder.")
    base: str | dict[str, Any] = Field(
        description="The run that arms change: a file, a shipped recipe, or its keys written out."
    )
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="Changes of the base for every arm: dotted keys with their values."
    )
    arms: tuple[str | dict[str, Any], ...] = Field(
        default=("full", "leave_one_out"),
        description="Each is `full`, `leave_one_out`, `add_one_in`, `{name, <dotted key>: value, ...}`, "
        "`{name, reward: ...}`, or `{grid: {part: [weight, ...], ...}}`.",
    )
    controls: tuple[Control, ...] = Field(
        default=(),
        description="What training gives without the reward: as much time of SFT, a coin for a reward, the form alone.",
    )
    metric: str = Field(description="What all arms are measured by, as in `evaluation.metrics`.")
    seeds: tuple[int, ...] | int = Field(default=8, description="So many (0, 1, ...), or a list of them.")

    @model_validator(mode="after")
    def _known(self) -> SweepSettings:
        if figure(self.metric).base == "reward_mean":
            raise ValueError("metric: reward_mean is each arm's own reward; choose what all arms are measured by alike")
        for arm in self.arms:
            if isinstance(arm, str) and arm not in ARM_WORDS:
                raise ValueError(f"arms: there is no {arm!r}{nearest(arm, ARM_WORDS)}; an arm of your own is a mapping")
        if not self.seed_list or min(self.seed_list) < 0 or len(set(self.seed_list)) < len(self.seed_list):
            raise ValueError(f"seeds: a number of at least 1, or different numbers from 0 on, got {self.seeds}")
        return self

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds, one by one."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def load_sweep_settings(
    source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[SweepSettings, Path]:
    """The settings, `base` being the whole configuration of its run, and the folder to which its paths are relative.

    `overrides` maps keys of the sweep (`seeds`), or else dotted keys of its base (`stages.rl.steps`), to values.
    """
    data, folder = (dict(source), Path.cwd()) if isinstance(source, Mapping) else read_config(source)
    own = {key: value for key, value in overrides.items() if key in SweepSettings.model_fields}
    others = {key: value for key, value in overrides.items() if key not in own}
    data |= own
    if "base" not in data:
        raise ConfigError(f"{data.get('name', source)} is not a sweep: it has no `base`, the run that its arms change")
    try:
        settings = SweepSettings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(fault) for fault in error.errors())) from None
    changes = {**settings.overrides, **others}
    if isinstance(settings.base, str) and (folder / settings.base).is_file():
        base, folder = load_config(folder / settings.base, changes)
    else:
        base, _ = load_config(copy.deepcopy(settings.base), changes)
    try:
        check_figure(settings.metric, base.metrics)  # here, since the base may bring metrics of its own
    except ValueError as error:
        raise ConfigError(f"metric: {error}") from None
    return settings.model_copy(update={"base": base.model_dump(mode="json"), "overrides": {}}), folder


def _explain(fault: Any) -> str:
    """One sentence of one pydantic fault, with the nearest valid key for an unknown one."""
    key = ".".join(str(step) for step in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key}{nearest(key, list(SweepSettings.model_fields))}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
