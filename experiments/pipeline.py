"""A run from its configuration: stage after stage, evaluated, recorded, and continued where it was interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from groundrl.algorithms.checkpoint import (
    WINDOWS,
    damage,
    is_complete,
    policy_version,
    save_folder,
    stage_progress,
)
from groundrl.algorithms.loop import HELD_OUT, train_rl
from groundrl.algorithms.preflight import preflight
from groundrl.algorithms.settings import SFTSettings
from groundrl.algorithms.sft import train_sft
from groundrl.experiments.audit import warn_before_training
from groundrl.experiments.config import ConfigError, RLStage, RunConfig, SFTStage
from groundrl.experiments.data.sources import load_source
from groundrl.experiments.evaluation import evaluate, report, summarize
from groundrl.experiments.figures import draw_run
from groundrl.experiments.folder import Recorder, RunFolder
from groundrl.experiments.hardware import lightning_hardware, make_fabric
from groundrl.experiments.loggers import check_loggers
from groundrl.experiments.progress import Progress
from groundrl.experiments.stage_settings import lora_settings, rl_settings
from groundrl.experiments.unchanged import other_threads
from groundrl.rewards import ExampleSource, Reward
from groundrl.rollout.adapters import POLICY
from groundrl.rollout.loader import Loader
from groundrl.rollout.policy import Policy
from groundrl.rollout.records import write_table, write_text
from groundrl.rollout.sampler import LocalEngine

BASE = Path(__file__).parent / "base"


class Pipeline:
    """One run in progress. `base` is the folder to which the configuration's paths are relative."""

    def __init__(
        self, config: RunConfig, base: Path, folder: RunFolder, reward: Reward | None, *, progress: bool = True
    ) -> None:
        if reward is None and any(isinstance(stage, RLStage) for stage in config.stages):
            raise ConfigError("an RL stage needs a reward: set `reward`, such as `reward: SoftF1()`")
        check_loggers(config.loggers)
        self.config = config
        self.base = base
        self.folder = folder
        self.reward = reward
        self.sources = self._sources()  # all data and the model now: a wrong name must not stop a run after hours
        self.fabric = make_fabric(config)
        self.progress = Progress(show=progress and self.fabric.is_global_zero)
        self.start = self._policy(None)
        self.skipped: dict[str, dict[int, str]] = {}

    def run(self) -> None:
        """All stages that are not complete yet, their evaluations, and the closing figures."""
        policy = self.start
        done = self._complete_stages()
        recorder = self._recorder(done)
        try:
            offset = 0
            for place, stage in enumerate(self.config.stages):
                checkpoint = self.folder.checkpoint(stage.name)
                if place < done:
                    policy = self._policy(checkpoint)
                else:
                    if recorder is not None:
                        recorder.begin(stage.name, offset=offset, steps=stage.steps)
                    if self.config.model.lora is not None:
                        policy.adapters.add(POLICY, lora_settings(self.config.model.lora), seed=self.config.seed)
                    self._train(stage, policy, recorder)
                    if self.fabric.is_global_zero:
                        save_folder(policy, checkpoint)
                        shutil.rmtree(checkpoint / WINDOWS, ignore_errors=True)
                    self.fabric.barrier()
                    if self.config.model.lora is not None:
                        policy = self._policy(checkpoint)  # the adapter merged, as whoever resumes will find it
                self._evaluate(stage.name, policy, recorder)
                offset += stage.steps
        finally:
            if recorder is not None:
                recorder.close()
        if self.fabric.is_global_zero:
            self._finish()

    def _train(self, stage: SFTStage | RLStage, policy: Policy, recorder: Recorder | None) -> None:
        source = self.sources[stage.name]
        checkpoint = self.folder.checkpoint(stage.name)
        if isinstance(stage, SFTStage):
            loader = Loader(policy, source, answers=True, on_error=self.config.data.on_error)
            settings = SFTSettings(seed=self.config.seed, **stage.model_dump(exclude={"name", "kind", "data"}))
            record = recorder.sft if recorder is not None else lambda row: None
            train_sft(
                policy, loader, settings, record=record, folder=checkpoint, hardware=lightning_hardware(self.config)
            )
            policy.model.to(self.fabric.device)
        else:
            assert self.reward is not None
            if self.config.audit == "warn" and self.fabric.is_global_zero and not stage_progress(checkpoint):
                warn_before_training(self.reward, source, seed=self.config.seed)
            loader = Loader(policy, source, reserve=stage.max_new_tokens, on_error=self.config.data.on_error)
            rl = rl_settings(stage, self.config.seed)
            if self.fabric.is_global_zero and not stage_progress(checkpoint):
                self.progress.say(preflight(policy, LocalEngine(policy), loader, self.reward, rl).text)
            train_rl(
                policy,
                LocalEngine(policy),
                loader,
                self.reward,
                rl,
                fabric=self.fabric,
                record=recorder.rl if recorder is not None else lambda step: None,
                after_update=lambda step: self._evaluate_within(stage, step, policy, recorder),
                folder=checkpoint,
            )
        self._note_skipped(stage.name, loader)

    def _evaluate_within(
        self, stage: RLStage, step: int, policy: Policy, recorder: Recorder | None
    ) -> dict[str, float]:
        """A point of the held-out curve; the end of a stage has an evaluation of its own. What `keep_best` needs."""
        every = self.config.evaluation.every
        if not every or step % every or step >= stage.steps:
            return {}
        rows = self._evaluate(stage.name, policy, recorder, step=step)
        wanted = (stage.keep_best or "").removeprefix(HELD_OUT)
        return {HELD_OUT + name: value for name, value in summarize(rows, [wanted]).items()} if wanted else {}

    def _evaluate(
        self, stage: str, policy: Policy, recorder: Recorder | None, *, step: int | None = None
    ) -> list[dict[str, Any]]:
        """The evaluated completions, also as a file; none without test data or where the file is there."""
        rows_file = self.folder.evaluation_rows(stage, step=step)
        if "test" not in self.sources or rows_file.is_file():
            return []
        source = self.sources["test"]
        evaluation = self.config.evaluation
        if step is None:
            self.progress.say(f"evaluating {stage} on {len(source)} test examples")
        loader = Loader(policy, source, reserve=evaluation.max_new_tokens, on_error=self.config.data.on_error)
        settings: dict[str, Any] = {"seed": self.config.seed, "fabric": self.fabric, "within": step is not None}
        rows, examples = evaluate(loader, LocalEngine(policy), self.reward, evaluation, **settings)
        self._note_skipped(f"evaluation of {stage}", loader)
        if recorder is not None:
            recorder.examples.add(examples)
            write_table(rows, rows_file)
        self.fabric.barrier()
        return rows

    def _finish(self) -> None:
        stages = {
            stage.name: pq.read_table(self.folder.evaluation_rows(stage.name)).to_pylist()
            for stage in self.config.stages
            if self.folder.evaluation_rows(stage.name).is_file()
        }
        if stages:
            content = report(stages, self.config.evaluation.metrics)
            write_text(json.dumps(content, indent=2) + "\n", self.folder.evaluation)
        draw_run(self.folder.path)

    def _sources(self) -> dict[str, ExampleSource]:
        """The data of every stage by its name, and that of the evaluation under `test`."""
        data = self.config.data
        specs = {stage.name: stage.data.train if stage.data is not None else data.train for stage in self.config.stages}
        sources = {}
        for name, spec in {**specs, "test": data.test}.items():
            if spec is not None:
                sources[name] = load_source(spec, seed=self.config.seed, base=self.base)
                if len(sources[name]) == 0:
                    raise ConfigError(f"the data of {name!r} has no examples: {spec}")
        return sources

    def _policy(self, checkpoint: Path | None) -> Policy:
        model = self.config.model
        path = self._model_path() if checkpoint is None else checkpoint
        policy = Policy.load(
            path,
            dtype=model.dtype,
            init=model.init if checkpoint is None else "pretrained",
            seed=self.config.seed,
            quantize=model.quantize,
            gradient_checkpointing=model.gradient_checkpointing,
            chat_template_kwargs=model.chat_template_kwargs,
        )
        policy.version = 0 if checkpoint is None else policy_version(checkpoint)
        policy.model.to(self.fabric.device)
        if model.freeze_vision:
            policy.freeze_vision()
        return policy

    def _model_path(self) -> str | Path:
        if self.config.model.path == "base":
            return BASE
        relative = self.base / self.config.model.path
        return relative if relative.exists() else self.config.model.path

    def _complete_stages(self) -> int:
        """How many stages need no training; the last of them is looked into, and made again where it is damaged."""
        checkpoints = [self.folder.checkpoint(stage.name) for stage in self.config.stages]
        done = next((place for place, found in enumerate(checkpoints) if not is_complete(found)), len(checkpoints))
        while done and (fault := damage(checkpoints[done - 1])) is not None:
            done -= 1
            self.progress.say(f"{checkpoints[done]} is damaged and made again: {fault}")
        return done

    def _recorder(self, done: int) -> Recorder | None:
        """What records the stages after those that are complete; what lies past the checkpoint is cut off."""
        if not self.fabric.is_global_zero:
            return None
        keep = sum(stage.steps for stage in self.config.stages[:done])
        for stage in self.config.stages[done + 1 :]:
            shutil.rmtree(self.folder.checkpoint(stage.name), ignore_errors=True)  # of a policy that is made again
            self.folder.cut_evaluations(stage.name, keep_until=0)
        for stage in self.config.stages[done : done + 1]:
            progress = stage_progress(self.folder.checkpoint(stage.name))
            self.folder.cut_evaluations(stage.name, keep_until=progress)
            keep += progress
        if done < len(self.config.stages) and keep and (note := other_threads(self.folder)):
            self.progress.say(note)
        return Recorder(self.folder, self.config, self.reward, keep_until=keep, progress=self.progress)

    def _note_skipped(self, where: str, loader: Loader) -> None:
        if not loader.skipped or not self.fabric.is_global_zero:
            return
        self.skipped[where] = loader.skipped
        first = next(iter(loader.skipped.values()))
        self.progress.say(f"{where}: {len(loader.skipped)} examples skipped (skipped.json); the first: {first}")
        write_text(json.dumps(self.skipped, indent=2) + "\n", self.folder.path / "skipped.json")


def difference_table(content: Mapping[str, Any]) -> Any:
    """The closing table of a run: each stage's metrics and the difference with its 95 % interval."""
    from rich.table import Table

    stages = content["stages"]
    table = Table(title=f"{content['num_examples']} test examples in {content['num_blocks']} blocks")
    table.add_column("metric")
    for stage in stages:
        table.add_column(stage, justify="right")
    if content["difference"]:
        one = next(iter(content["difference"].values()))
        table.add_column(f"{one['from']} -> {one['to']} [95 % interval]", justify="right")
    for metric in next(iter(stages.values())):
        cells = [f"{values[metric]:.3f}" if metric in values else "" for values in stages.values()]
        found = content["difference"].get(metric)
        if content["difference"]:
            low, high = found["ci95"] if found else (None, None)
            interval = f" [{low:+.3f}, {high:+.3f}]" if low is not None else ""
            cells.append(f"{found['mean']:+.3f}{interval}" if found else "")
        table.add_row(metric, *cells)
    return table
