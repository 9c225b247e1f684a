"""The Python face: `train(...)` makes a run, `load_run(...)` opens one, `Run` is what a notebook works with."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundrl.experiments.config import ConfigError, RunConfig
from groundrl.experiments.config_file import load_config
from groundrl.experiments.user_rewards import USER_CODE, build_reward, load_user_reward, named_parts, user_files
from groundrl.rewards import Reward, parse_reward
from groundrl.rollout.records import read_lines

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from groundrl.experiments.rescore import Rescored

RUNS = Path("runs")


class Run:
    """A run's folder as an object; reads only when asked."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"{folder} is not a run: it has no config.yaml")
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def config(self) -> RunConfig:
        """The configuration, as it was resolved."""
        return load_config(self.folder / "config.yaml", {})[0]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One object a step: metrics.jsonl."""
        return list(read_lines(self.folder / "metrics.jsonl"))

    @property
    def rollouts(self) -> pa.Table:
        """One row a completion, of all RL steps (a pyarrow table; `.to_pandas()`)."""
        from groundrl.experiments.stored import read_rollouts

        return read_rollouts(self.folder)

    @property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json: each stage's metrics and the difference with its interval."""
        path = self.folder / "evaluation.json"
        if not path.is_file():
            raise ConfigError(f"{self.folder} has no evaluation: it did not finish, or has no `data.test`")
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    @property
    def held_out(self) -> list[dict[str, Any]]:
        """Test metrics by global step: at the end of each stage and, with `evaluation.every`, within RL stages."""
        from groundrl.experiments.folder import RunFolder
        from groundrl.experiments.held_out import held_out_curve

        return held_out_curve(RunFolder(self.folder), self.config)

    def checkpoint(self, stage: str | None = None) -> Path:
        """The Hugging Face folder of a stage's policy, the last stage's by default."""
        from groundrl.algorithms.checkpoint import is_complete

        name = stage or self.config.stages[-1].name
        folder = self.folder / "checkpoints" / name
        if not is_complete(folder):
            done = [stage.name for stage in self.config.stages if is_complete(folder.parent / stage.name)]
            raise ConfigError(
                f"{self.folder} has no checkpoint of {name!r}; complete stages: {', '.join(done) or 'none'}"
            )
        return folder

    def curves(self) -> Figure:
        """Reward and parts, IoU, groups, length: raw points and a smoothed line."""
        import matplotlib.pyplot as plt

        from groundrl.experiments.plotting import draw_curves

        figure = plt.figure(figsize=(11, 6), layout="constrained")
        evaluated = (self.folder / "evaluation.json").is_file()
        draw_curves(figure, self.metrics, self.evaluation if evaluated else {})
        return figure

    def show(self, *, step: int, group: int = 0) -> Figure | str:
        """One group of one step: its completions sorted by reward, on the image where there is one."""
        from groundrl.experiments.group_view import group_figure, group_text
        from groundrl.experiments.stored import read_examples, read_rollouts

        rows = [row for row in read_rollouts(self.folder, step=step).to_pylist() if row["group"] == group]
        if not rows:
            raise ValueError(f"step {step} has no group {group}")
        example = read_examples(self.folder)[rows[0]["example_id"]]
        rows.sort(key=lambda row: -(row["reward"] if row["reward"] is not None else float("-inf")))
        return group_figure(example, rows) if example.images else group_text(example, rows)

    def rescore(self, reward: Reward | str) -> Rescored:
        """Every recorded completion under another reward, without a model: totals, parts, advantages, what changed.

        An expression may use the names of the run's own parts, or be `file.py:name`.
        """
        from groundrl.experiments.logs import open_log
        from groundrl.experiments.rescore import rescore

        return rescore(open_log(self.folder), self.reward_of(reward) if isinstance(reward, str) else reward)

    def reward_of(self, expression: str) -> Reward:
        """The reward of an expression over shipped rewards and the run's own parts, or of `file.py:name`."""
        from groundrl.experiments.folder import RunFolder

        user = USER_CODE.fullmatch(expression.strip())
        if user:
            return load_user_reward(Path(user["file"]), user["name"])
        return parse_reward(expression, named_parts(self.config, Path(RunFolder(self.folder).environment["base"])))


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
    from groundrl.experiments.folder import RunFolder
    from groundrl.experiments.pipeline import Pipeline

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
    if pipeline.fabric.is_global_zero:
        folder.create(settings, base, built, code or user_files(settings, base), overwrite=overwrite)
    pipeline.fabric.barrier()
    pipeline.run()
    return Run(folder.path)


def resume(
    folder: Path | str, *, reward: Reward | None = None, allow_changed: bool = False, progress: bool = True
) -> Run:
    """Continue a run where its last whole checkpoint stands; a finished run is left as it is.

    ConfigError where its configuration or its reward is no longer what the run began with, unless `allow_changed`.
    """
    from groundrl.experiments.folder import RunFolder
    from groundrl.experiments.pipeline import Pipeline
    from groundrl.experiments.unchanged import check_unchanged, note_change

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


def load_run(folder: Path | str) -> Run:
    """Open a run by its folder, or by its name under `runs/`."""
    path = Path(folder)
    return Run(path if path.exists() else RUNS / path)


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
