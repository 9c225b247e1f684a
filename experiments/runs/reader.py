"""`load_run(...)` opens a run, `Run` is what a notebook works with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.rewards import load_user_reward, named_parts
from groundrl.experiments.config.run import USER_CODE, ConfigError, RunConfig
from groundrl.experiments.config.stage import RLStage
from groundrl.rewards import Reward, parse_reward
from groundrl.rollout.io.records import SCHEMA_VERSION, read_lines

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from groundrl.experiments.rescoring.log import Log
    from groundrl.experiments.rescoring.rescore import Rescored

RUNS = Path("runs")


class Run:
    """A run's folder as an object; reads only when asked."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"{folder} is not a run: it has no config.yaml")
        _check_schema(folder)
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def config(self) -> RunConfig:
        """The configuration, as it was resolved."""
        return load_config(self.folder / "config.yaml", {}, recorded=True)[0]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One object a step: metrics.jsonl."""
        return list(read_lines(self.folder / "metrics.jsonl"))

    @property
    def rollouts(self) -> pa.Table:
        """One row a completion, of all RL steps (a pyarrow table; `.to_pandas()`)."""
        from groundrl.experiments.recording.rollouts import read_rollouts

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
        from groundrl.experiments.recording.folder import RunFolder
        from groundrl.experiments.recording.held_out_curve import held_out_curve

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

    @property
    def log(self) -> Log:
        """What was sampled, with the examples behind it: what `rescore` and the page read."""
        from groundrl.experiments.recording.rollouts import read_examples
        from groundrl.experiments.rescoring.log import Log

        stages = {stage.name: stage for stage in self.config.stages if isinstance(stage, RLStage)}
        return Log(
            name=str(self.folder),
            folder=self.folder,
            table=self.rollouts,
            examples=read_examples(self.folder),
            stages=stages,
        )

    def curves(self) -> Figure:
        """Reward and parts, IoU, groups, length: raw points and a smoothed line."""
        import matplotlib.pyplot as plt

        from groundrl.experiments.drawing.curves import draw_curves

        figure = plt.figure(figsize=(11, 6), layout="constrained")
        evaluated = (self.folder / "evaluation.json").is_file()
        draw_curves(figure, self.metrics, self.evaluation if evaluated else {})
        return figure

    def show(self, *, step: int, group: int = 0) -> Figure | str:
        """One group of one step: its completions sorted by reward, on the image where there is one."""
        from groundrl.experiments.drawing.group import group_figure, group_text
        from groundrl.experiments.recording.rollouts import read_examples, read_rollouts

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
        from groundrl.experiments.rescoring.rescore import rescore

        return rescore(self.log, self.reward_of(reward) if isinstance(reward, str) else reward)

    def reward_of(self, expression: str) -> Reward:
        """The reward of an expression over shipped rewards and the run's own parts, or of `file.py:name`."""
        from groundrl.experiments.recording.folder import RunFolder

        user = USER_CODE.fullmatch(expression.strip())
        if user:
            return load_user_reward(Path(user["file"]), user["name"])
        return parse_reward(expression, named_parts(self.config, Path(RunFolder(self.folder).environment["base"])))


def _check_schema(folder: Path) -> None:
    """ConfigError for the run of a version whose files this one does not know."""
    path = folder / "environment.json"
    environment: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"schema": SCHEMA_VERSION}
    if environment["schema"] > SCHEMA_VERSION:
        writer = f"groundrl {environment['packages']['groundrl']}"
        raise ConfigError(
            f"{folder} was written by {writer} in schema {environment['schema']}, and this version reads schemas up to "
            f"{SCHEMA_VERSION}: install {writer} to open it"
        )


def load_run(folder: Path | str) -> Run:
    """Open a run by its folder, or by its name under `runs/`."""
    path = Path(folder)
    return Run(path if path.exists() else RUNS / path)
