"""What fills a run's folder while the run goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from groundrl.algorithms.health import Watch
from groundrl.algorithms.loop import RLStep
from groundrl.experiments.config.run import RunConfig
from groundrl.experiments.drawing.contact_sheet import captions, contact_sheet
from groundrl.experiments.metrics.grounding import set_iou
from groundrl.experiments.recording.folder import RunFolder
from groundrl.experiments.recording.loggers import log_picture, make_loggers
from groundrl.experiments.recording.progress import Progress
from groundrl.rewards import Group, Reward
from groundrl.rollout.io.records import ExampleStore, MetricsFile, completion_rows, write_table

PICTURE_EVERY = 10  # steps


class Recorder:
    """Writes each step as it happens: metrics.jsonl, loggers, rollouts, examples, progress. Rank 0 alone has one.

    What lies past `keep_until` (global steps) belongs to steps that are made again, and is cut off.
    """

    def __init__(
        self, folder: RunFolder, config: RunConfig, reward: Reward | None, *, keep_until: int, progress: Progress
    ) -> None:
        self.folder = folder
        self.fingerprint = reward.fingerprint if reward is not None else ""
        self.metrics = MetricsFile(folder.metrics, keep_until=keep_until)
        for file in folder.rollouts.glob("step-*.parquet"):
            if int(file.stem.removeprefix("step-")) > keep_until:
                file.unlink()
        self.examples = ExampleStore(folder.path)
        self.loggers = make_loggers(config, folder.path, keep_until=keep_until)
        self.health = MetricsFile(folder.health, keep_until=keep_until)
        self.progress = progress
        self.offset = 0
        self.stage = ""
        self.watch = Watch()
        self._seconds = {"seconds/step": 0.0, "seconds/data": 0.0}

    def begin(self, stage: str, *, offset: int, steps: int) -> None:
        """The next steps belong to this stage, which starts after `offset` global steps."""
        self.stage, self.offset = stage, offset
        self.watch = Watch()
        self._seconds = {"seconds/step": 0.0, "seconds/data": 0.0}
        for row in self.metrics.kept:
            if row["stage"] == stage:
                self.watch.check(_numbers(row))  # a resumed stage knows how it began and what was said
        self.progress.begin(stage, steps)

    @property
    def waited(self) -> float:
        """The share of its steps' time that an SFT stage has waited for data."""
        return self._seconds["seconds/data"] / max(self._seconds["seconds/step"], 1e-9)

    def sft(self, row: Mapping[str, float]) -> None:
        """One SFT step."""
        values = dict(row)
        for name in self._seconds:
            self._seconds[name] += values[name]
        self._metrics(int(values.pop("stage_step")), values, shown=("loss",))

    def rl(self, step: RLStep) -> None:
        """One RL step: the rollouts first, so that a step in metrics.jsonl always has them."""
        at = self.offset + step.step
        stored = self.examples.add([group.example for group in step.groups])
        groups = [replace(group, example=example) for group, example in zip(step.groups, stored, strict=True)]
        rows = completion_rows(at, groups, step.advantages, fingerprint=self.fingerprint)
        write_table(rows, self.folder.rollouts / f"step-{at:06d}.parquet")
        values = dict(step.metrics)
        ious = [
            set_iou(completion.boxes, group.example.reference.boxes)
            for group in step.groups
            if group.example.reference.boxes is not None
            for completion in group.completions
        ]
        if ious:
            values["rollout/iou_mean"] = sum(ious) / len(ious)
        self._metrics(step.step, values, shown=("reward/mean", "rollout/iou_mean"))
        if step.step == 1 or step.step % PICTURE_EVERY == 0:
            self._picture(step.groups[0], at)

    def close(self) -> None:
        """Close the files."""
        self.metrics.close()
        self.health.close()
        for logger in self.loggers:
            logger.finalize("success")
        self.progress.end()

    def _picture(self, group: Group, step: int) -> None:
        """A group with its boxes, for the loggers."""
        picture = contact_sheet(group)
        if picture is not None:
            for logger in self.loggers:
                log_picture(logger, f"{self.stage}/completions", picture, captions(group), step)

    def _metrics(self, stage_step: int, values: Mapping[str, float], *, shown: Sequence[str]) -> None:
        step = self.offset + stage_step
        self.metrics.append({"step": step, "stage": self.stage, "stage_step": stage_step, **values})
        for logger in self.loggers:
            logger.log_metrics({f"{self.stage}/{name}": value for name, value in values.items()}, step)
        self.progress.step(stage_step, {name: values[name] for name in shown if name in values})
        for warning in self.watch.check(values):
            self.health.append({"step": step, "stage": self.stage, "stage_step": stage_step, **vars(warning)})
            self.progress.note(f"warning, {self.stage} step {stage_step}: {warning.name}: {warning.message}")


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of metrics.jsonl as it was: null is what was not finite."""
    return {name: math.nan if value is None else value for name, value in row.items() if not isinstance(value, str)}
