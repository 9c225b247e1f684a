"""A run from its configuration: stage after stage, evaluated, recorded, and continued where it was interrupted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from groundrl.algorithms.checkpoint import (
    HELD_OUT,
    WINDOWS,
    damage,
    is_complete,
    policy_version,
    save_folder,
    stage_progress,
)
from groundrl.algorithms.loop import train_rl
from groundrl.algorithms.preflight import preflight
from groundrl.algorithms.sft import held_out_loss, train_sft
from groundrl.experiments.config.model import model_path
from groundrl.experiments.config.rewards import load_metrics
from groundrl.experiments.config.run import ConfigError, RunConfig
from groundrl.experiments.config.stage import RLStage, SFTStage
from groundrl.experiments.data.seen_pixels import as_the_model_writes
from groundrl.experiments.data.training import load_training
from groundrl.experiments.metrics.figures import measured
from groundrl.experiments.recording.evaluation import evaluate, report, summarize
from groundrl.experiments.recording.folder import RunFolder
from groundrl.experiments.recording.loggers import check_loggers
from groundrl.experiments.recording.progress import Progress
from groundrl.experiments.recording.recorder import Recorder
from groundrl.experiments.recording.resume_check import other_threads
from groundrl.experiments.runs.audit_check import warn_before_training
from groundrl.experiments.runs.figures import draw_run
from groundrl.experiments.runs.hardware import lightning_hardware, make_fabric
from groundrl.experiments.runs.measures import said_before
from groundrl.rewards import ExampleSource, Reward
from groundrl.rollout.io.records import write_table, write_text
from groundrl.rollout.model.adapters import POLICY
from groundrl.rollout.model.freezing import VISION, freeze
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.resolution import set_resolution
from groundrl.rollout.model.storage import store_frozen_in_bfloat16
from groundrl.rollout.sampling.engine import Engine
from groundrl.rollout.sampling.engines import engine_settings


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
        self.own_metrics = load_metrics(config.metrics, base)
        self.metrics = measured(config.figures, self.own_metrics)
        self.fabric = make_fabric(config)
        self.progress = Progress(show=progress and self.fabric.is_global_zero)
        self.start = self._policy(None)
        self.skipped: dict[str, dict[int, str]] = {}

    def run(self) -> None:
        """All stages that are not complete yet, their evaluations, and the closing figures."""
        policy = self.start
        done = self._complete_stages()
        recorder = self._recorder(done)
        if self.progress.show:
            for said in said_before(self.config, self.own_metrics, self.sources):
                self.progress.say(said)
        try:
            offset = 0
            for index, stage in enumerate(self.config.stages):
                checkpoint = self.folder.checkpoint(stage.name)
                if index < done:
                    policy = self._policy(checkpoint)
                else:
                    if recorder is not None:
                        recorder.begin(stage.name, offset=offset, steps=stage.steps)
                    adapted = self._prepare(stage, policy)
                    self._train(stage, policy, recorder)
                    if self.fabric.is_global_zero:
                        save_folder(policy, checkpoint)
                        shutil.rmtree(checkpoint / WINDOWS, ignore_errors=True)
                    self.fabric.barrier()
                    if adapted:
                        policy = self._policy(checkpoint)  # the adapter merged, as whoever resumes will find it
                self._evaluate(stage.name, policy, recorder)
                offset += stage.steps
        finally:
            if recorder is not None:
                recorder.close()
        if self.fabric.is_global_zero:
            self._finish()

    def _prepare(self, stage: SFTStage | RLStage, policy: Policy) -> bool:
        """Set what of the policy learns in this stage and how it sees images; whether through an adapter."""
        model = self.config.model
        if stage.resolution is not None:
            set_resolution(policy, stage.resolution)
        if model.quantize is None:
            freeze(policy, (*(VISION if model.freeze_vision else ()), *stage.freeze))
        lora = stage.lora if stage.lora is not None else model.lora
        if lora is None or lora == "off":
            return False
        policy.adapters.add(POLICY, lora, seed=self.config.seed)
        store_frozen_in_bfloat16(policy, exported=True)
        return True

    def _loader(self, policy: Policy, name: str, *, reserve: int = 0, answers: bool = False) -> Loader:
        """The encoded examples of a stage, or of `validation` or `test`."""
        source = as_the_model_writes(self.sources[name], policy, self.config.model.boxes)
        return Loader(policy, source, reserve=reserve, answers=answers, on_error=self.config.data.on_error)

    def _train(self, stage: SFTStage | RLStage, policy: Policy, recorder: Recorder | None) -> None:
        checkpoint = self.folder.checkpoint(stage.name)
        if isinstance(stage, SFTStage):
            loader = self._loader(policy, stage.name, answers=True)
            train_sft(
                policy,
                loader,
                stage.settings(self.config.seed),
                record=recorder.sft if recorder is not None else lambda row: None,
                folder=checkpoint,
                hardware=lightning_hardware(self.config),
                after_update=lambda step: self._evaluate_within(stage, step, policy, recorder),
            )
            if recorder is not None:
                self.progress.say(f"{stage.name} has waited for data {recorder.waited:.1%} of the time")
            policy.model.to(self.fabric.device)
        else:
            assert self.reward is not None
            if self.config.audit == "warn" and self.fabric.is_global_zero and not stage_progress(checkpoint):
                warn_before_training(self.reward, self.sources[stage.name], seed=self.config.seed)
            loader = self._loader(policy, stage.name, reserve=stage.max_new_tokens)
            rl = stage.settings(self.config.seed)
            if self.fabric.is_global_zero and not stage_progress(checkpoint):
                self.progress.say(preflight(policy, self._engine(policy), loader, self.reward, rl).text)
            train_rl(
                policy,
                self._engine(policy),
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
        self, stage: SFTStage | RLStage, step: int, policy: Policy, recorder: Recorder | None
    ) -> dict[str, float]:
        """A point of the held-out curve; the end of a stage has an evaluation of its own. What `keep_best` needs."""
        every = self.config.evaluation.every
        if not every or step % every or step >= stage.steps:
            return {}
        rows = self._evaluate(stage.name, policy, recorder, step=step)
        wanted = (stage.keep_best or "").removeprefix(HELD_OUT)
        found = summarize(rows, [wanted]) if wanted in self.config.figures else {}
        if isinstance(stage, SFTStage):
            found["loss"] = self._held_out_loss(stage, policy)
        return {HELD_OUT + name: value for name, value in found.items()}

    def _evaluate(
        self, stage: str, policy: Policy, recorder: Recorder | None, *, step: int | None = None
    ) -> list[dict[str, Any]]:
        """The evaluated completions, also as a file; none without test data or where the file is there."""
        rows_file = self.folder.evaluation_rows(stage, step=step)
        data = self._held_out(within=step is not None)
        if data not in self.sources or rows_file.is_file():
            return []
        evaluation = self.config.evaluation
        if step is None:
            self.progress.say(f"evaluating {stage} on {len(self.sources[data])} {data} examples")
        loader = self._loader(policy, data, reserve=evaluation.max_new_tokens)
        settings: dict[str, Any] = {"seed": self.config.seed, "fabric": self.fabric, "within": step is not None}
        rows, examples = evaluate(loader, self._engine(policy), self.reward, evaluation, self.metrics, **settings)
        self._note_skipped(f"evaluation of {stage}", loader)
        if recorder is not None:
            stored = dict(zip(examples, recorder.examples.add([*examples.values()]), strict=True))
            write_table([row | {"example_id": stored[row["index"]].id} for row in rows], rows_file)
        self.fabric.barrier()
        return rows

    def _held_out(self, *, within: bool) -> str:
        """The data of an evaluation: what a checkpoint is chosen by is not what the results are measured on."""
        return "validation" if within and "validation" in self.sources else "test"

    def _held_out_loss(self, stage: SFTStage, policy: Policy) -> float:
        """The mean loss over the tokens of the held-out gold answers."""
        loader = self._loader(policy, self._held_out(within=True), answers=True)
        ranks = {"rank": self.fabric.global_rank, "world_size": self.fabric.world_size}
        parts = held_out_loss(policy, loader, stage.settings(self.config.seed), **ranks)
        total, count = torch.as_tensor(self.fabric.all_reduce(parts, reduce_op="sum")).tolist()
        return float(total / count)

    def _finish(self) -> None:
        stages = {
            stage.name: pq.read_table(self.folder.evaluation_rows(stage.name)).to_pylist()
            for stage in self.config.stages
            if self.folder.evaluation_rows(stage.name).is_file()
        }
        if stages:
            content = report(stages, self.config.figures)
            write_text(json.dumps(content, indent=2) + "\n", self.folder.evaluation)
        draw_run(self.folder.path)

    def _sources(self) -> dict[str, ExampleSource]:
        """The data of every stage by its name, and that of the evaluation under `test`."""
        data = self.config.data
        specs = {stage.name: stage.data.train if stage.data is not None else data.train for stage in self.config.stages}
        sources = {}
        for name, spec in {**specs, "validation": data.validation, "test": data.test}.items():
            if spec is not None:
                sources[name] = load_training(spec, seed=self.config.seed, base=self.base)
                if len(sources[name]) == 0:
                    raise ConfigError(f"the data of {name!r} has no examples: {spec}")
        return sources

    def _policy(self, checkpoint: Path | None) -> Policy:
        model = self.config.model
        path = model_path(model.path, self.base) if checkpoint is None else checkpoint
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
        return policy

    def _engine(self, policy: Policy) -> Engine:
        """What samples from a policy, as the configuration says."""
        return engine_settings(self.config.engine).build(policy)

    def _complete_stages(self) -> int:
        """How many stages need no training; the last of them is looked into, and made again where it is damaged."""
        checkpoints = [self.folder.checkpoint(stage.name) for stage in self.config.stages]
        done = next((index for index, found in enumerate(checkpoints) if not is_complete(found)), len(checkpoints))
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
