"""The reward of a configuration: expressions over shipped rewards and over functions in a user's Python file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from groundrl.experiments.config.run import USER_CODE, ConfigError, RunConfig
from groundrl.experiments.metrics import Metric
from groundrl.rewards import Reward, parse_reward


def build_reward(config: RunConfig, base: Path) -> Reward | None:
    """The run's reward with its parts named as in `rewards`; None where the configuration has no reward."""
    if config.reward is None:
        return None
    return build_expression(config.reward, named_parts(config, base), base, "reward")


def named_parts(config: RunConfig, base: Path) -> dict[str, Reward]:
    """The configuration's `rewards`, each under its name."""
    return {
        name: build_expression(expression, {}, base, f"rewards.{name}").named(name)
        for name, expression in config.rewards.items()
    }


def user_files(config: RunConfig, base: Path) -> list[Path]:
    """The Python files that the configuration's rewards and metrics come from."""
    written = [*config.rewards.values(), config.reward or "", *config.metrics.values()]
    return list(dict.fromkeys(base / found["file"] for text in written if (found := USER_CODE.fullmatch(text.strip()))))


def build_expression(expression: str, parts: dict[str, Reward], base: Path, key: str) -> Reward:
    """The reward of an expression over `parts`, or of `file.py:name`; else a ConfigError that names `key`."""
    found = USER_CODE.fullmatch(expression.strip())
    if found:
        return load_user_reward(base / found["file"], found["name"])
    try:
        return parse_reward(expression, parts)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def load_user_reward(path: Path, name: str) -> Reward:
    """The reward called `name` in a Python file, or a ConfigError that says what is wrong with it."""
    module = _load(path, "reward")
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, Reward):
        found = found()
    if not isinstance(found, Reward):
        rewards = [key for key, value in vars(module).items() if isinstance(value, Reward)]
        known = f"its rewards are {', '.join(rewards)}" if rewards else "it holds none; put @reward above the function"
        raise ConfigError(f"{path} has no reward {name!r}; {known}")
    return found


def load_metrics(metrics: Mapping[str, str], base: Path) -> dict[str, Metric]:
    """A configuration's own `metrics`, or a ConfigError that says what is wrong with a file."""
    result = {}
    for own, written in metrics.items():
        user = USER_CODE.fullmatch(written.strip())
        assert user is not None, "the configuration has checked it"
        module, name = _load(base / user["file"], "metric"), user["name"]
        found = getattr(module, name, None)
        if not isinstance(found, Metric):
            there = [key for key, value in vars(module).items() if isinstance(value, Metric)]
            known = f"its metrics are {', '.join(there)}" if there else "it holds none; put @metric above"
            raise ConfigError(f"metrics.{own}: {base / user['file']} has no metric {name!r}; {known}")
        result[own] = found
    return result


def _load(path: Path, what: str) -> ModuleType:
    """A user's file as a module."""
    if not path.is_file():
        raise ConfigError(f"there is no {what} file {path}")
    module_name = f"groundrl_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # so that what it defines can be pickled
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # user code may raise anything while it is imported
        raise ConfigError(f"the {what} file {path} does not import: {type(error).__name__}: {error}") from error
    return module
