"""A sweep as runs: which there are, what each waits for, its configuration, and where it lies."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundrl.experiments.ablation.arms import MORE_SFT, Arm, make_arms, rl_stages
from groundrl.experiments.ablation.compare import FULL, START
from groundrl.experiments.ablation.settings import SweepSettings
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import ConfigError, RunConfig
from groundrl.experiments.config.stage import SFTStage
from groundrl.rollout.io.records import read_lines

FRESH_SEED = 1_000_000  # added to the seed of more_sft: it must see samples that the SFT stage has not


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: an arm, or the start of all arms, with one seed."""

    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}-{self.seed}"


class Plan:
    """A sweep made concrete. `folder` holds everything that it leaves; `paths` is where the base's paths begin."""

    def __init__(self, settings: SweepSettings, paths: Path, folder: Path) -> None:
        assert isinstance(settings.base, dict), "load_sweep_settings resolves it"
        self.settings, self.paths, self.folder = settings, paths, folder
        self.base = load_config(settings.base, {})[0]
        self.arms: list[Arm]
        self.arms, self.idle = make_arms(settings, self.base, paths)
        self.shared = self.base.stages[: len(self.base.stages) - len(rl_stages(self.base))]
        if self.base.data.test is None:
            raise ConfigError("a sweep compares on test data: set data.test in its base")
        if settings.metric not in self.base.figures:
            raise ConfigError(f"the base does not measure {settings.metric}: add it to evaluation.metrics")
        if MORE_SFT in settings.controls and not (self.shared and isinstance(self.shared[-1], SFTStage)):
            raise ConfigError("the control more_sft needs an SFT stage before the RL stage")

    def run(self, job: Job) -> Path:
        """The run's folder."""
        return self.folder / str(job)

    def jobs(self, seeds: tuple[int, ...] | None = None) -> list[Job]:
        """All runs, seed by seed, each after what it waits for."""
        names = [START] * bool(self.shared) + [arm.name for arm in self.arms]
        names.sort(key=lambda name: name == MORE_SFT)
        return [Job(arm=name, seed=seed) for seed in seeds or self.settings.seed_list for name in names]

    def waits_for(self, job: Job) -> Job | None:
        """What must be complete before: an arm's start; before more_sft, full, whose time it takes."""
        if job.arm == START or not self.shared:
            return None
        return Job(arm=FULL if job.arm == MORE_SFT else START, seed=job.seed)

    def done(self, job: Job) -> bool:
        """Whether a run is complete."""
        return (self.run(job) / "evaluation.json").is_file()

    def config(self, job: Job, *, threads: int | None = None) -> RunConfig:
        """The configuration of a run; for an arm its start must be complete."""
        base = self.base.model_dump(mode="json")
        common: dict[str, Any] = {"name": str(job), "seed": job.seed, "audit": "off"}
        common["hardware"] = base["hardware"] | ({"threads": threads} if threads else {})
        if job.arm == START:
            return load_config(base | common | {"stages": base["stages"][: len(self.shared)]}, {})[0]
        if self.shared:
            checkpoint = self.run(Job(arm=START, seed=job.seed)) / "checkpoints" / self.shared[-1].name
            common["model"] = base["model"] | {"path": str(checkpoint.resolve()), "init": "pretrained"}
        if job.arm == MORE_SFT:
            stage = base["stages"][len(self.shared) - 1] | {"name": MORE_SFT, "steps": self._sft_steps(job.seed)}
            return load_config(base | common | {"stages": [stage], "seed": job.seed + FRESH_SEED}, {})[0]
        (arm,) = (arm for arm in self.arms if arm.name == job.arm)
        changed = self.changed(arm).model_dump(mode="json")
        return load_config(changed | common | {"stages": changed["stages"][len(self.shared) :]}, {})[0]

    def changed(self, arm: Arm) -> RunConfig:
        """The base as an arm changes it."""
        return load_config(self.base.model_dump(mode="json"), arm.changes)[0]

    def check_found(self) -> None:
        """ConfigError where a run is there that was made otherwise than this sweep would make it."""
        for job in self.jobs():
            if is_run(self.run(job)):
                found, planned = (_comparable(c) for c in (read_run_config(self.run(job)), self.config(job)))
                differs = [key for key in planned if found.get(key) != planned[key]]
                if differs:
                    raise ConfigError(
                        f"{self.run(job)} was made with another {differs[0]}; give the sweep another name (name=...), "
                        "or begin anew with --overwrite"
                    )

    def _sft_steps(self, seed: int) -> int:
        """As many SFT steps as take the wall-clock of full's RL; once chosen they stand in the run's configuration.

        Two runs of a sweep differ in this, and in nothing else.
        """
        own = self.run(Job(arm=MORE_SFT, seed=seed))
        if is_run(own):
            return read_run_config(own).stages[0].steps
        rl = list(read_lines(self.run(Job(arm=FULL, seed=seed)) / "metrics.jsonl"))
        sft = list(read_lines(self.run(Job(arm=START, seed=seed)) / "metrics.jsonl"))
        last = [row["seconds/step"] for row in sft if row["stage"] == self.shared[-1].name]
        seconds: float = sum(row["seconds/step"] for row in rl)
        steps: int = round(seconds / statistics.median(last))
        return max(1, steps)


def is_run(folder: Path) -> bool:
    """Whether a run was begun here; environment.json is the last file without which it cannot go on."""
    return (folder / "environment.json").is_file()


def read_run_config(folder: Path) -> RunConfig:
    """A run's configuration as it was resolved."""
    return load_config(folder / "config.yaml", {})[0]


def read_evaluation(folder: Path) -> dict[str, float]:
    """The test metrics at the end of a run."""
    stages: dict[str, dict[str, float]] = json.loads((folder / "evaluation.json").read_text())["stages"]
    return list(stages.values())[-1]


def _comparable(config: RunConfig) -> dict[str, Any]:
    """What must agree for a run to be read, not made again: all but where it runs and where its start lies."""
    content = config.model_dump(mode="json", exclude={"hardware", "audit"})
    content["model"] = {key: value for key, value in content["model"].items() if key != "path"}
    return content
