"""Which log a path is: a run's folder, or the files that another trainer left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from groundrl.experiments.analysis.lines import holds_completions, read_lines_log
from groundrl.experiments.analysis.trl import read_trl
from groundrl.experiments.config.rewards import build_expression
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.recording.rollouts import read_examples
from groundrl.experiments.rescoring.log import Log
from groundrl.experiments.runs.reader import load_run
from groundrl.rewards import Example, Reward

KINDS = (
    "a run's folder, TRL's completions (a folder of completions_*.parquet), verl's rollouts (a folder of "
    "<step>.jsonl), or a .jsonl file with `prompt` and `completion`"
)


def open_log(path: Path | str) -> Log:
    """The log at a path, or of a run by its name under `runs/`. ConfigError for a path that holds none.

    ValueError for a file that is not what its name says.
    """
    path = Path(path)
    files, reader = foreign_files(path)
    if files:
        return read_trl(files, str(path)) if reader == "trl" else read_lines_log(files, str(path))
    if path.exists() and not (path / "config.yaml").is_file():
        raise ConfigError(f"{path} holds no completions: expected {KINDS}")
    return load_run(path).log


def log_reward(log: Log, expression: str) -> Reward:
    """The reward of an expression, over a run's own parts where the log is one, or of `file.py:name`."""
    if log.folder is not None:
        return load_run(log.folder).reward_of(expression)
    return build_expression(expression, {}, Path.cwd(), "--reward")


def logged_examples(path: Path) -> list[Example] | None:
    """The examples of a run or a foreign log, to audit a reward on; None where the path is a data set, or nothing."""
    if (path / "config.yaml").is_file():
        return list(read_examples(path).values())
    files, reader = foreign_files(path)
    if not files or (reader == "lines" and not holds_completions(files[0])):
        return None
    log = open_log(path)
    return list(log.examples.values())


def foreign_files(path: Path) -> tuple[Sequence[Path], str]:
    """The files of a foreign log in the order of their steps, and who wrote them: `trl` or `lines`."""
    if path.is_file():
        return [path], "trl" if path.suffix == ".parquet" else "lines"
    if not path.is_dir() or (path / "config.yaml").is_file():
        return [], ""
    for folder in (path, path / "completions"):
        if found := sorted(folder.glob("completions_*.parquet")):
            return found, "trl"
    return sorted(path.glob("*.jsonl"), key=lambda file: (len(file.stem), file.stem)), "lines"
