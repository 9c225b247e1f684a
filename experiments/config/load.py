"""Reading a configuration: a path or a recipe's name, with overrides; each fault is one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from groundrl.algorithms.schema import CriticSettings
from groundrl.experiments.config.model import ModelConfig
from groundrl.experiments.config.run import ConfigError, EvaluationConfig, HardwareConfig, RunConfig
from groundrl.experiments.config.stage import DataConfig, Part, RLStage, SFTStage
from groundrl.rewards.expression import nearest
from groundrl.rollout.settings import LoraSettings, Resolution

RECIPES = Path(__file__).parents[1] / "recipes"


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any], *, recorded: bool = False
) -> tuple[RunConfig, Path]:
    """The configuration and the folder to which its paths are relative.

    `source` is a path, the name of a shipped recipe, or a mapping; `overrides` maps dotted keys to values, a stage by
    its name (`stages.rl.steps`). `recorded`: of a run, where an RL stage's keys already agreed with its estimator and
    objective; they are asked again only by who goes on with the stage, as they need torch.
    """
    data, base = (dict(source), Path.cwd()) if isinstance(source, Mapping) else read_config(source)
    if "arms" in data:
        raise ConfigError(f"{data.get('name', 'this')} is a sweep, not a run: use `groundrl sweep`")
    for key, value in overrides.items():
        override(data, key, value)
    try:
        return RunConfig.model_validate(data, context={"recorded": recorded}), base
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(fault, data) for fault in error.errors())) from None


def read_config(source: str | Path) -> tuple[dict[str, Any], Path]:
    """The keys of a YAML file or a shipped recipe, and the folder to which its paths are relative."""
    path = find_config(source)
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values")
    return data, Path.cwd() if RECIPES in path.parents else path.resolve().parent


def find_config(source: str | Path) -> Path:
    """A path as it is, else the shipped recipe of that name."""
    if Path(source).is_file():
        return Path(source)
    recipe = RECIPES / f"{source}.yaml"
    if recipe.is_file():
        return recipe
    names = sorted(str(path.relative_to(RECIPES).with_suffix("")) for path in RECIPES.rglob("*.yaml"))
    raise ConfigError(f"there is no file and no recipe {str(source)!r}; the recipes are {', '.join(names)}")


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`["stages.rl.steps=20", "seed=3"]` as a mapping; values are read as YAML."""
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"an override is KEY=VALUE, got {pair!r}")
        # YAML 1.1 reads 1e-4 as text; a researcher means the number.
        parsed = yaml.safe_load(value)
        overrides[key] = _number(parsed) if isinstance(parsed, str) else parsed
    return overrides


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def override(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; what stands in a list is found by its name."""
    place: Any = data
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(place, list):
            found = [item for item in place if item.get("name") == parent]
            if not found:
                raise ConfigError(
                    f"{key}: there is no {parent!r} here; there are {', '.join(i['name'] for i in place)}"
                )
            place = found[0]
        else:
            place = place.setdefault(parent, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"{key}: {parent!r} is a value, it has no keys")
    if isinstance(place, list):
        raise ConfigError(f"{key}: name the stage's key as well, such as {key}.steps")
    place[last] = value


def _explain(fault: Any, data: Mapping[str, Any]) -> str:
    """One sentence of one pydantic fault, with the nearest valid key for an unknown one."""
    where: list[str] = []
    for step in fault["loc"]:
        if str(step).startswith("<"):  # which of several kinds of value it is
            continue
        if isinstance(step, int):
            where.append(str(data["stages"][step].get("name", step)) if where == ["stages"] else str(step))
        elif step not in ("sft", "rl") or where[:1] != ["stages"] or len(where) != 2:
            where.append(str(step))
    key = ".".join(where)
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key}{nearest(str(fault['loc'][-1]), _valid_keys(fault['loc']))}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _valid_keys(loc: Sequence[int | str]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "model": ModelConfig,
        "lora": LoraSettings,
        "critic": CriticSettings,
        "data": DataConfig,
        "resolution": Resolution,
        "evaluation": EvaluationConfig,
        "hardware": HardwareConfig,
        "sft": SFTStage,
        "rl": RLStage,
        "<mixture>": Part,
    }
    inside = [str(step) for step in loc[:-1] if str(step) in sections]
    model = sections[inside[-1]] if inside else RunConfig
    return list(model.model_fields)
