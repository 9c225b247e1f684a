"""A run that is killed ends as one that never stopped; one that has changed is refused."""

import json
import linecache
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from groundrl.algorithms.learner import Learner
from groundrl.experiments import Run, resume, train
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.recording.folder import RunFolder
from groundrl.experiments.recording.resume_check import check_unchanged

SFT = {"name": "sft", "kind": "sft", "steps": 4, "batch_size": 2, "lr": 1e-3, "checkpoint_every": 2}
RL = {"name": "rl", "kind": "rl", "steps": 4, "prompts_per_step": 2, "group_size": 3, "epochs": 2, "lr": 1e-3}
RL |= {"max_new_tokens": 6, "kl_coef": 0.05, "checkpoint_every": 2, "keep_best": "reward/mean"}
REWARD = """
from groundrl.rewards import Completion, Example
from groundrl.rewards import reward

@reward(range=(0, 1))
def even(completion: Completion, example: Example) -> float:
    return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)
"""


@pytest.fixture(scope="module")
def config(tiny_text, tmp_path_factory) -> Path:
    """SFT, then GRPO of two epochs a window, on eight prompts; the reward is a user's file."""
    folder = tmp_path_factory.mktemp("config")
    lines = [{"id": f"t{k}", "prompt": f"How many nuclei? {k}", "answer": "two"} for k in range(8)]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "mine.py").write_text(REWARD)
    content = {
        "name": "run",
        "model": {"path": str(tiny_text)},
        "data": {"train": "train.jsonl"},
        "rewards": {"even": "mine.py:even"},
        "reward": "1.0*even",
        "audit": "off",
        "stages": [SFT, RL],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory) -> Run:
    return train(config, runs=tmp_path_factory.mktemp("straight"), progress=False)


def killed(act: Callable[[], object]) -> None:
    """A process of its own does it, and must die of SIGKILL on the way."""
    child = os.fork()
    if child == 0:
        signal.alarm(300)  # a hanging child must not hang the tests
        try:
            act()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_state(stage: str, step: int) -> object:
    """torch.save that dies in the middle of this checkpoint's file."""
    write = torch.save

    def save(state, path):
        write(state, path)
        if (path.parents[1].name, state["step"]) == (stage, step):
            os.truncate(path, path.stat().st_size // 2)
            die()

    return patch("torch.save", save)


def after_update(number: int) -> object:
    """Learner.update that dies after so many updates of this process."""
    update, done = Learner.update, []

    def counted(self):
        update(self)
        done.append(self.step)
        if len(done) == number:
            die()

    return patch.object(Learner, "update", counted)


def before_the_name(name: str) -> object:
    """os.replace that dies before a file or folder gets this name."""
    replace = os.replace
    return patch("os.replace", lambda old, new: die() if Path(new).name == name else replace(old, new))


def left(run: Run) -> dict[str, object]:
    timing = ("seconds/", "tokens_per_second")
    return {
        "weights": [(run.checkpoint(stage) / "model.safetensors").read_bytes() for stage in ("sft", "rl")],
        "best": (run.folder / "checkpoints" / "rl" / "best" / "best.json").read_text(),
        "metrics": [{key: row[key] for key in row if not key.startswith(timing)} for row in run.metrics],
        "completions": run.rollouts.to_pylist(),
    }


def test_a_run_killed_five_times_ends_as_one_that_never_stopped(config, straight, tmp_path):
    """In SFT's checkpoint, between the epochs of RL's windows 1 and 3, in its checkpoint, at the end of the stage."""
    folder = tmp_path / "run"

    def go(where) -> None:
        with where:
            resume(folder, progress=False) if folder.exists() else train(config, runs=tmp_path, progress=False)

    in_rl = (after_update(1), after_update(5), half_a_state("rl", 4))
    for where in (half_a_state("sft", 4), *in_rl, before_the_name("config.json")):
        killed(lambda where=where: go(where))
    again = resume(folder, progress=False)
    assert [(row["step"], row["stage"]) for row in again.metrics] == [
        (step, "sft" if step <= 4 else "rl") for step in range(1, 9)
    ]
    assert left(again) == left(straight)
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("rl/loss")] == [5, 6, 7, 8]
    assert not list(folder.rglob("*.partial"))
    assert not list(folder.rglob("windows"))


@pytest.fixture
def stopped(config, straight, tmp_path) -> Run:
    """As a run that was killed just before the end of its last stage, with the user's files beside it."""
    folder = Path(shutil.copytree(straight.folder, tmp_path / "run"))
    shutil.copytree(config.parent, tmp_path / "files")
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps(environment | {"base": str(tmp_path / "files")}))
    (folder / "checkpoints" / "rl" / "config.json").unlink()
    return Run(folder)


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_a_damaged_final_policy_is_made_again_with_all_that_came_of_it(stopped, straight, capsys, stage):
    if stage == "rl":
        resume(stopped.folder, progress=False)
    weights = stopped.checkpoint(stage) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    resume(stopped.folder)
    assert f"{stage} is damaged and made again: model.safetensors has" in " ".join(capsys.readouterr().out.split())
    assert left(stopped) == left(straight)


def test_another_configuration_is_refused_unless_it_is_said(stopped):
    file = stopped.folder / "config.yaml"
    content = yaml.safe_load(file.read_text())
    content["stages"][1] |= {"lr": 0.5, "keep_last": 7}  # how many checkpoints are kept changes no result
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"two runs: stages\.rl\.lr: 0\.001 -> 0\.5\. Put it back, .*--allow-ch"):
        resume(stopped.folder, progress=False)
    resume(stopped.folder, allow_changed=True, progress=False)
    assert json.loads((stopped.folder / "environment.json").read_text())["changed"] == [["stages.rl.lr: 0.001 -> 0.5"]]
    resume(stopped.folder, progress=False)  # it was said once


def test_a_key_that_is_younger_than_the_run_stood_at_its_default(straight, tmp_path):
    recorded = json.loads((straight.folder / "environment.json").read_text()) | {"reward": None}
    del recorded["config"]["stages"][1]["top_p"]
    (tmp_path / "environment.json").write_text(json.dumps(recorded))
    assert check_unchanged(RunFolder(tmp_path), straight.config, None, allow=False) == []
    del recorded["config"]["stages"][1]["importance_cap"]
    (tmp_path / "environment.json").write_text(json.dumps(recorded))
    stages = (*straight.config.stages[:1], straight.config.stages[1].model_copy(update={"importance_cap": 3.0}))
    config = straight.config.model_copy(update={"stages": stages})
    assert check_unchanged(RunFolder(tmp_path), config, None, allow=True) == ["stages.rl.importance_cap: 2.0 -> 3.0"]


def test_another_reward_is_refused(stopped, tmp_path):
    source = tmp_path / "files" / "mine.py"
    source.write_text(source.read_text().replace("== 0", "== 1"))
    linecache.clearcache()
    with pytest.raises(ConfigError, match=r"two runs: the reward's fingerprint: [0-9a-f]{16} -> [0-9a-f]{16} \("):
        resume(stopped.folder, progress=False)


def test_other_threads_are_said(stopped, capsys):
    file = stopped.folder / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"threads": 64}))
    resume(stopped.folder)
    assert "began with 64 threads and goes on with 1: results may differ" in " ".join(capsys.readouterr().out.split())
