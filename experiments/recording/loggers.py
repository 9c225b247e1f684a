"""Where the scalars of a run go beside metrics.jsonl: TensorBoard, Weights & Biases, trackio."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger

from groundrl.experiments.config.run import ConfigError, RunConfig

PROJECT = "groundrl"


def make_loggers(config: RunConfig, folder: Path, *, keep_until: int) -> list[Logger]:
    """The loggers that `loggers` names, told the hyper-parameters; TensorBoard's later steps are made again."""
    made = [_make(name, config, folder, keep_until) for name in config.loggers]
    for logger in made:
        logger.log_hyperparams(flat(config.model_dump(mode="json")))
    return made


def check_loggers(names: Sequence[str]) -> None:
    """ConfigError, with the command that helps, where the package of a logger is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(f"loggers: {name} is not installed; pip install 'groundrl[{name}]'")


def log_picture(logger: Logger, tag: str, picture: np.ndarray, caption: str, step: int) -> None:
    """An RGB picture `[height, width, 3]` of bytes, with what it shows in words."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(tag, picture, step, dataformats="HWC")
        logger.experiment.add_text(tag, "".join(f"    {line}\n" for line in caption.splitlines()), step)
    elif isinstance(logger, TrackioLogger):
        logger.log_picture(tag, picture, caption, step)
    else:
        logger.log_image(tag, [picture], step, caption=[caption])  # type: ignore[attr-defined]  # W&B's alone


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, stages by their names, as on the command line."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key == "stages":
            value = {stage["name"]: stage for stage in value}
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, int | float | str) else str(value)
    return found


def _make(name: str, config: RunConfig, folder: Path, keep_until: int) -> Logger:
    if name == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(name=config.name, project=PROJECT, save_dir=folder)
    if name == "trackio":
        return TrackioLogger(config.name)
    # TensorBoard leaves out what earlier files hold from the purged step on.
    return TensorBoardLogger(folder, name="tensorboard", version="", purge_step=keep_until + 1)


class TrackioLogger(Logger):
    """trackio behind Lightning's interface, which has none for it."""

    def __init__(self, name: str) -> None:
        import trackio

        self._run: Any = trackio.init(project=PROJECT, name=name, resume="allow")

    @property
    def name(self) -> str:
        """The project."""
        return PROJECT

    @property
    def version(self) -> str:
        """The run's name."""
        return str(self._run.name)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One step's numbers."""
        self._run.log(dict(metrics), step=step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """What the run was configured with."""
        self._run.config.update(vars(params) if isinstance(params, Namespace) else params)

    def log_picture(self, tag: str, picture: np.ndarray, caption: str, step: int) -> None:
        """One picture."""
        import trackio

        self._run.log({tag: trackio.Image(picture, caption=caption)}, step=step)

    def finalize(self, status: str) -> None:
        """Send what is left."""
        self._run.finish()
