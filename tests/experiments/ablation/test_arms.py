"""What a sweep's YAML means: its arms, those that cannot differ, and what is refused."""

from pathlib import Path

import pytest
import yaml

from groundrl.experiments.ablation.duplicate_arms import duplicate_arm_notes
from groundrl.experiments.ablation.plan import Job, Plan
from groundrl.experiments.ablation.progress import estimate, plan_notes
from groundrl.experiments.ablation.settings import load_sweep_settings
from groundrl.experiments.ablation.sweep import shard_of
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import ConfigError

MINE = """
from groundrl.rewards import reward
@reward(range=(0, 1))
def tight(completion, example):
    return 0.5
"""
PILOT = {"seconds": {"sft": 1.0, "rl": 2.0}, "seconds_per_completion": 0.01, "test_examples": 100}


def plan(folder=Path("runs/x"), **keys) -> Plan:
    settings, paths = load_sweep_settings({"name": "x", "base": "quickstart", "metric": "iou_mean", **keys}, {})
    return Plan(settings, paths, folder)


def rewards(made: Plan) -> dict[str, str]:
    return {arm.name: arm.changes.get("reward", "") for arm in made.arms}


def test_every_kind_of_arm():
    made = plan(
        arms=[
            *("full", "leave_one_out", "add_one_in"),
            {"name": "G4", "stages.rl.group_size": 4},
            {"name": "medmo", "reward": "presets.medmo()"},
            {"grid": {"box": [0.3, 0.9], "format": [0.2]}},
        ],
        controls=["more_sft", "random_reward"],
    )
    assert rewards(made) == {
        "full": "",
        "without_box": "0.3*label + 0.1*format",
        "without_label": "0.6*box + 0.1*format",
        "without_format": "0.6*box + 0.3*label",
        "only_box": "0.6*box",
        "only_label": "0.3*label",
        "only_format": "0.1*format",
        "G4": "",
        "medmo": "presets.medmo()",
        "box_0.3-format_0.2": "0.3*box + 0.3*label + 0.2*format",
        "box_0.9-format_0.2": "0.9*box + 0.3*label + 0.2*format",
        "more_sft": "",
        "random_reward": "RandomReward()",
    }
    assert made.changed(made.arms[7]).stages[1].group_size == 4
    assert made.idle == {}


def test_arms_of_a_seed_begin_at_its_checkpoint_with_its_prompts(tmp_path):
    made = plan(tmp_path, arms=["leave_one_out"], seeds=[3])
    start, full, box = (made.config(Job(arm=arm, seed=3), threads=1) for arm in ("start", "full", "without_box"))
    assert [stage.name for stage in start.stages] == ["sft"]
    assert start.model.path == "base"
    assert [stage.name for stage in full.stages] == ["rl"]
    assert full.model.path == box.model.path == str(tmp_path / "start-3" / "checkpoints" / "sft")
    assert (full.seed, full.stages, full.data) == (box.seed, box.stages, box.data)
    assert (full.hardware.threads, full.audit) == (1, "off")


def test_jobs_wait_for_what_they_need():
    made = plan(arms=["leave_one_out"], controls=["more_sft", "random_reward"], seeds=2)
    jobs = [str(job) for job in made.jobs()]
    assert jobs[:2] == ["start-0", "full-0"]
    assert jobs[6] == "more_sft-0", "it waits for full, so others go first"
    assert made.waits_for(Job(arm="start", seed=1)) is None
    assert made.waits_for(Job(arm="without_box", seed=1)) == Job(arm="start", seed=1)
    assert made.waits_for(Job(arm="more_sft", seed=1)) == Job(arm="full", seed=1)


def test_arms_that_cannot_differ_are_named():
    made = plan(
        overrides={"reward": "0.6*box + 0.0*label + 0.1*format"},
        arms=[
            "leave_one_out",
            {"name": "G8", "stages.rl.group_size": 8},
            {"name": "back", "reward": "0.1*format + 0.6*box"},
        ],
        controls=["format_only"],
    )
    assert set(made.idle) == {"without_label", "G8", "back"}
    assert "cannot differ from `full`" in made.idle["G8"]
    two = plan(overrides={"reward": "0.6*box + 0.1*format"}, arms=["add_one_in"], controls=["format_only"])
    assert [arm.name for arm in two.arms] == ["full", "only_box", "only_format", "format_only"]
    notes = plan_notes(made, {**PILOT, "constant_parts": ["format"]}, (0, 1), 1)
    assert any(note.startswith("without_format may not differ from full: format did not vary") for note in notes)
    assert "format_only has nothing to learn from: format did not vary within any group of the pilot steps" in notes
    assert any("G8 is not run" in note for note in notes)
    assert any("With fewer than 6 seeds no two-sided" in note for note in notes)


def test_arms_that_may_not_differ_are_named_whatever_they_are_called():
    made = plan(
        overrides={"reward": "0.6*box + 0.3*label + 0.1*format"},
        arms=[
            {"grid": {"format": [0.3, 0.0]}},
            {"name": "tenth", "reward": "0.06*box + 0.03*label + 0.01*format"},
            {"name": "more", "reward": "0.06*box + 0.03*label + 0.02*format", "stages.rl.lr": 1e-5},
            {"name": "other", "reward": "0.5*box + 0.3*label + 0.1*format"},
            {"name": "only", "reward": "0.1*label"},
            {"name": "again", "reward": "0.5*label"},
            {"name": "plain", "reward": "label"},
        ],
        controls=["format_only", "random_reward", "more_sft"],
    )
    said = dict(note.split(" ", 1) for note in duplicate_arm_notes(made, ["format"]))
    assert set(said) == {"format_0.3", "format_0", "tenth", "again", "plain", "format_only"}
    assert said["format_0"] == said["format_0.3"]
    assert said["tenth"].startswith("may not differ from full: its reward is that times 0.1, which advantages")
    assert said["again"].startswith("may not differ from only: its reward is that times 5, which")
    assert said["plain"].startswith("may not differ from only: its reward is that times 10, which")
    assert {note.split()[0] for note in duplicate_arm_notes(made, [])} == {"tenth", "again", "plain"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"metric": "reward_mean"}, "reward_mean is each arm's own reward"),
        ({"metric": "iou_meen"}, "did you mean 'iou_mean'"),
        ({"metric": "format_rate", "controls": ["format_only"]}, "the own reward of arm 'format_only'"),
        ({"metric": "label_accuracy", "arms": ["add_one_in"]}, "the own reward of arm 'only_label'"),
        ({"arms": [{"name": "m", "reward": "2*MatchedIoU()"}]}, "the own reward of arm 'm'"),
        ({"arms": ["leave_two_out"]}, "did you mean 'leave_one_out'"),
        ({"arms": [{"name": "a", "stages.sft.lr": 1e-3}]}, "all arms of a seed start from the same sft"),
        ({"arms": [{"name": "a", "data.train": "cells/rendered"}]}, "data.train, which all arms share"),
        ({"arms": [{"name": "a", "evaluation.samples_per_example": 1}]}, "which all arms share"),
        ({"arms": [{"name": "a", "stages.rl.data": {"train": "x"}}]}, "which all arms share"),
        ({"arms": [{"name": "a", "stages.rl.grop_size": 1}]}, "did you mean 'group_size'"),
        ({"arms": [{"name": "a/b", "stages.rl.lr": 1.0}]}, "cannot be called 'a/b'"),
        ({"arms": [{"name": "start", "stages.rl.lr": 1.0}]}, "cannot be called 'start'"),
        ({"arms": [{"stages.rl.lr": 1.0}]}, "an arm needs a name"),
        ({"arms": [{"name": "a", "stages.rl.lr": 1.0}, {"name": "a", "stages.rl.lr": 2.0}]}, "two arms are called 'a'"),
        ({"arms": [{"grid": {"bx": [1]}}]}, "no part 'bx'; its parts are box, label, format"),
        ({"arms": [{"grid": {"box": 1}}]}, "a grid is"),
        ({"overrides": {"reward": "SoftF1()"}}, "leave_one_out needs a reward that is a sum"),
        ({"overrides": {"data.test": None}}, "set data.test in its base"),
        ({"overrides": {"evaluation.metrics": ["format_rate"]}}, "add it to evaluation.metrics"),
        ({"seeds": 0}, "a number of at least 1"),
        ({"seeds": [1, 1]}, "different numbers"),
        ({"sed": 3}, "unknown key sed; did you mean 'seeds'"),
        ({"base": "base"}, "needs a reward"),
        ({"base": "nothing"}, "no file and no recipe 'nothing'"),
    ],
)
def test_what_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        plan(**keys)


def test_a_sweep_and_a_run_are_not_taken_for_each_other():
    with pytest.raises(ConfigError, match="ablation is a sweep, not a run: use `groundrl sweep`"):
        load_config("ablation", {})
    with pytest.raises(ConfigError, match="quickstart is not a sweep: it has no `base`"):
        load_sweep_settings("quickstart", {})


def test_own_files_lie_beside_the_base(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine.py").write_text(MINE)
    base = load_config("quickstart", {})[0].model_dump(mode="json")
    base["rewards"]["own"], base["reward"] = "mine.py:tight", "0.5*box + 0.5*own"
    (tmp_path / "runs" / "base.yaml").write_text(yaml.safe_dump(base))
    written = {"name": "s", "base": "runs/base.yaml", "metric": "iou_mean", "arms": ["add_one_in"]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(written))
    settings, paths = load_sweep_settings(tmp_path / "sweep.yaml", {"seeds": 2, "stages.rl.steps": 7})
    made = Plan(settings, paths, tmp_path / "out")
    assert paths == tmp_path / "runs"
    assert rewards(made) == {"full": "", "only_box": "0.5*box", "only_own": "0.5*own"}
    assert (made.base.stages[1].steps, settings.seed_list) == (7, (0, 1))


def test_the_time_is_estimated_from_the_pilot():
    # start 60*1 + 13 * 100 * 0.01; full and G4 100 * 2 and half of it, each tested for 13 s; more_sft as long as full
    made = plan(arms=[{"name": "G4", "stages.rl.group_size": 4}], controls=["more_sft"])
    one = (60 + 13) + (200 + 13) + (100 + 13) + (200 + 13)
    assert estimate(made, PILOT, 4, 1) == pytest.approx(4 * one)
    assert estimate(made, PILOT, 4, 2) == pytest.approx(2 * one)


def test_a_shard_holds_whole_seeds():
    seeds = tuple(range(8))
    parts = [shard_of(seeds, (index, 3)) for index in (1, 2, 3)]
    assert parts == [(0, 3, 6), (1, 4, 7), (2, 5)]
    for shard in ((0, 3), (4, 3), (1, 9)):
        with pytest.raises(ConfigError, match="a shard is i/n"):
            shard_of(seeds, shard)
