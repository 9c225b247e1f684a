"""The Python face: `train(...)` makes a run, `resume(...)` goes on with one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.rewards import build_reward, user_files
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.runs.reader import RUNS, Run
from groundrl.rewards import Reward, parse_reward


def train(
    config: str | Path | Mapping[str, Any] = "quickstart",
    *,
    reward: Reward | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    runs: Path | str = RUNS,
    progress: bool = True,
    **keys: Any,
) -> Run:
    """Train as CONFIG says and return the run.

    `reward` replaces the configuration's: a `Reward` or an expression. `overrides` maps dotted keys to values
    (`{"stages.rl.steps": 20}`); further keyword arguments are top-level keys (`seed=1`, `name="mine"`).
    """
    from groundrl.experiments.recording.folder import RunFolder
    from groundrl.experiments.runs.measures import check_metrics
    from groundrl.experiments.runs.pipeline import Pipeline

    changes = {**(overrides or {}), **keys}
    code: list[Path] = []
    if isinstance(reward, str):
        changes["reward"] = reward
    elif reward is not None:
        changes["reward"], code = _describe(reward)
        changes["rewards"] = {}
    settings, base = load_config(config, changes)
    built = reward if isinstance(reward, Reward) else build_reward(settings, base)
    folder = RunFolder(Path(runs) / settings.name)
    pipeline = Pipeline(settings, base, folder, built, progress=progress)
    check_metrics(settings, pipeline.own_metrics, pipeline.sources)
    if pipeline.fabric.is_global_zero:
        folder.create(settings, base, built, [*code, *user_files(settings, base)], overwrite=overwrite)
    pipeline.fabric.barrier()
    pipeline.run()
    return Run(folder.path)


def resume(
    folder: Path | str, *, reward: Reward | None = None, allow_changed: bool = False, progress: bool = True
) -> Run:
    """Continue a run where its last whole checkpoint stands; a finished run is left as it is.

    ConfigError where its configuration or its reward is no longer what the run began with, unless `allow_changed`.
    """
    from groundrl.experiments.recording.folder import RunFolder
    from groundrl.experiments.recording.resume_check import check_unchanged, note_change
    from groundrl.experiments.runs.pipeline import Pipeline

    run = Run(Path(folder))
    files = RunFolder(run.folder)
    settings, base = run.config, Path(files.environment["base"])
    if reward is None and (settings.reward or "").startswith("<"):
        raise ConfigError(f"the reward of {folder} was given in Python: resume(..., reward=...) needs it again")
    built = reward or build_reward(settings, base)
    changes = check_unchanged(files, settings, built, allow=allow_changed)
    pipeline = Pipeline(settings, base, files, built, progress=progress)
    if changes and pipeline.fabric.is_global_zero:
        note_change(files, settings, built, changes)
    pipeline.run()
    return run


def _describe(reward: Reward) -> tuple[str, list[Path]]:
    """How a reward made in Python stands in config.yaml, and the file that defines it."""
    text = repr(reward)
    try:
        parse_reward(text)
        return text, []
    except ValueError:
        return f"<{text}>", list(dict.fromkeys(_user_code(reward)))


def _user_code(reward: Reward) -> Iterator[Path]:
    """The files of the user's functions and classes in a reward and its parts; a notebook's have none."""
    for child in reward.children:
        yield from _user_code(child)
    function = getattr(reward, "function", type(reward))
    if not function.__module__.startswith("groundrl."):
        source = inspect.getsourcefile(function)
        if source is not None and Path(source).is_file():
            yield Path(source)
