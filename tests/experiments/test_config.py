"""A configuration says one run; what is wrong in it is named with its key and the nearest valid one."""

import pytest

from groundrl.experiments.config import RECIPES, ConfigError, find_config, load_config, parse_overrides


def recipe(**changes):
    return load_config("quickstart", changes)[0]


def test_every_recipe_is_valid():
    paths = sorted(RECIPES.rglob("*.yaml"))
    assert {"base", "quickstart"} <= {path.stem for path in paths}
    for path in paths:
        load_config(path, {})


def test_overrides_reach_a_stage_by_its_name():
    config = load_config("quickstart", parse_overrides(["stages.rl.steps=20", "seed=3", "stages.rl.lr=3e-5"]))[0]
    assert (config.stages[1].steps, config.seed, config.stages[1].lr) == (20, 3, 3e-5)
    assert config.stages[0].steps == recipe().stages[0].steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sead": 3}, "unknown key sead; did you mean 'seed'?"),
        ({"stages.rl.grop_size": 3}, "unknown key stages.rl.grop_size; did you mean 'group_size'?"),
        ({"stages.sft.group_size": 3}, "unknown key stages.sft.group_size"),
        ({"model.pth": "x"}, "unknown key model.pth; did you mean 'path'?"),
        ({"stages.rl.group_size": 1}, "stages.rl.group_size: Input should be greater than or equal to 2"),
        ({"stages.rl.objective": "dpo"}, "objective: there is no 'dpo'; choose from dapo, grpo"),
        ({"stages.rll.steps": 2}, "stages.rll.steps: there is no 'rll' here; there are sft, rl"),
        ({"stages.rl": 2}, "name the stage's key as well"),
        ({"seed.x": 2}, "seed.x: 'seed' is a value, it has no keys"),
        ({"evaluation.metrics": ["iou"]}, "there is no metric 'iou'"),
        ({"name": "a/b"}, "name: String should match pattern"),
        ({"name": ".."}, "name: String should match pattern"),
        ({"data.train": None, "stages.sft.data": None}, "stage 'sft' has no data"),
    ],
)
def test_a_fault_is_one_sentence(changes, message):
    with pytest.raises(ConfigError) as caught:
        load_config("quickstart", changes)
    assert message in str(caught.value)


def test_two_stages_of_one_name_are_refused():
    stage = {"name": "sft", "kind": "sft", "steps": 1}
    with pytest.raises(ConfigError, match="different names, got sft, sft"):
        load_config({"name": "x", "data": {"train": "cells/rendered"}, "stages": [stage, stage]}, {})


def test_an_override_is_key_and_value():
    with pytest.raises(ConfigError, match="KEY=VALUE, got 'seed'"):
        parse_overrides(["seed"])


def test_a_missing_file_lists_the_recipes():
    with pytest.raises(ConfigError, match="no file and no recipe 'nothing'; the recipes are base, quickstart"):
        find_config("nothing")


def test_a_file_that_is_not_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("name: [")
    with pytest.raises(ConfigError, match=r"a\.yaml is not YAML"):
        load_config(tmp_path / "a.yaml", {})
    (tmp_path / "b.yaml").write_text("just text")
    with pytest.raises(ConfigError, match="no mapping"):
        load_config(tmp_path / "b.yaml", {})


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\nstages: [{name: s, kind: sft, steps: 1, data: {train: x.jsonl}}]\n")
    assert load_config(tmp_path / "a.yaml", {})[1] == tmp_path
