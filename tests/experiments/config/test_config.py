"""A configuration says one run; what is wrong in it is named with its key and the nearest valid one."""

import re

import pytest

from groundrl.experiments.ablation.settings import load_sweep_settings
from groundrl.experiments.config.load import RECIPES, find_config, load_config, parse_overrides
from groundrl.experiments.config.run import ConfigError
from groundrl.rollout.settings import LoraSettings


def recipe(**changes):
    return load_config("quickstart", changes)[0]


def test_every_recipe_is_valid():
    paths = sorted(RECIPES.rglob("*.yaml"))
    assert {"base", "quickstart", "dapo", "medmo", "medmo_think", "ppo", "report"} <= {path.stem for path in paths}
    for path in paths:
        load_sweep_settings(path, {}) if path.stem == "ablation" else load_config(path, {})


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
        ({"stages.rl.objective": "dpo"}, "objective: there is no 'dpo'; choose from cispo, dapo, dr_grpo, grpo"),
        ({"stages.rl.kl_estimator": "k1"}, "stages.rl: kl_estimator k1 is no loss, its expected gradient is 0"),
        ({"stages.rl.kl_in_reward": True}, "kl_in_reward needs an advantage that takes rewards of tokens"),
        ({"stages.rl.advantage": "gae", "stages.rl.dynamic_sampling": 4}, "but advantage gae learns from them too"),
        ({"stages.rl.objective": "cispo", "stages.rl.clip_high": 0.28}, "with cispo clip_high is the largest weight"),
        ({"stages.rl.objective": "cispo", "stages.rl.dual_clip": 3.0}, "cispo has no lower bound and no dual clip"),
        ({"stages.rl.top_p": 0.9}, "stages.rl: RL learns from what the policy itself samples: top_k, top_p and min_p"),
        ({"stages.rl.top_p": 1.5}, "stages.rl.top_p: Input should be less than or equal to 1"),
        ({"stages.rl.stop": [""]}, "stages.rl.stop.0: String should have at least 1 character"),
        ({"stages.rl.temperature": 0}, "stages.rl: RL explores by sampling: temperature 0 is greedy"),
        ({"stages.rl.dual_clip": 1.0}, "stages.rl.dual_clip: Input should be greater than 1"),
        ({"stages.rl.importance_cap": 0.5}, "stages.rl.importance_cap: Input should be greater than or equal to 1"),
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
    with pytest.raises(
        ConfigError,
        match="no file and no recipe 'nothing'; the recipes are ablation, base, dapo, medmo, medmo/stage1",
    ):
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


def test_every_key_of_an_rl_stage_reaches_the_loop():
    """Each key is set to a value that is not its default, and found again in the settings."""
    changed = {
        "advantage": "rloo",
        "objective": "gspo",
        "steps": 7,
        "prompts_per_step": 3,
        "group_size": 5,
        "epochs": 2,
        "micro_batch_tokens": 6,
        "update": "packed",
        "lr": 0.5,
        "warmup_steps": 1,
        "weight_decay": 0.25,
        "max_grad_norm": 2.0,
        "checkpoint_every": 9,
        "dynamic_sampling": 11,
        "mask_truncated": True,
        "temperature": 0.75,
        "max_new_tokens": 77,
        "top_k": 13,
        "top_p": 0.875,
        "min_p": 0.0625,
        "stop": ("END",),
        "stop_tokens": (7,),
        "clip_low": 0.125,
        "clip_high": 0.375,
        "dual_clip": 3.5,
        "kl_coef": 0.0625,
        "kl_estimator": "k1",
        "kl_in_reward": True,
        "entropy_coef": 0.03125,
        "importance_correction": "sequence_mask",
        "importance_cap": 4.0,
        "on_reward_error": "mask",
        "reward_workers": 2,
        "reward_deadline": 8.0,
        "keep_last": 3,
        "keep_best": "reward/mean",
        "max_bad_steps": 4,
    }
    stage = recipe(**{f"stages.rl.{key}": value for key, value in changed.items()}).stages[1]
    assert set(changed) | {"name", "kind", "data", "critic", "resolution", "freeze", "lora"} == set(
        type(stage).model_fields
    )
    settings = stage.settings(seed=5)
    flat = {**vars(settings), **vars(settings.sampling), **vars(settings.clipping)}
    assert {key: flat[key] for key in changed} == changed
    assert (settings.seed, settings.name) == (5, "rl")


def test_a_truncated_sampler_is_allowed_where_it_is_corrected():
    changes = {"stages.rl.top_p": 0.9, "stages.rl.importance_correction": "token_truncate", "stages.rl.stop": ["</s>"]}
    settings = recipe(**changes).stages[1].settings(seed=0)
    assert (settings.sampling.top_p, settings.sampling.stop) == (0.9, ("</s>",))


@pytest.mark.parametrize(
    ("metric", "changes", "message"),
    [
        ("held_out/iou_men", {}, r"keep_best: there is no metric 'iou_men'; did you mean 'iou_mean'?"),
        (
            "held_out/iou_mean",
            {},
            r"held_out/iou_mean is measured within a stage only with evaluation\.every and data\.validation",
        ),
        (
            "held_out/iou_mean",
            {"evaluation.every": 5, "data.test": None},
            r"only with evaluation\.every and data\.validation",
        ),
    ],
)
def test_the_best_by_a_held_out_metric_must_be_measured(metric, changes, message):
    with pytest.raises(ConfigError, match=message):
        recipe(**{"stages.rl.keep_best": metric, **changes})
    assert recipe(**{"stages.rl.keep_best": "held_out/iou_mean", "evaluation.every": 5}).stages[1].keep_best


def test_every_key_of_an_sft_stage_reaches_the_trainer():
    changed = {
        "steps": 7,
        "batch_size": 6,
        "micro_batch_size": 3,
        "pack_tokens": 512,
        "optimizer": "muon",
        "lr": 0.5,
        "schedule": "linear",
        "warmup": 0.25,
        "weight_decay": 0.125,
        "max_grad_norm": 2.0,
        "checkpoint_every": 9,
        "keep_last": 3,
        "keep_best": "loss",
        "max_bad_steps": 4,
    }
    stage = recipe(**{f"stages.sft.{key}": value for key, value in changed.items()}).stages[0]
    assert set(changed) | {"name", "kind", "data", "resolution", "freeze", "lora"} == set(type(stage).model_fields)
    assert vars(stage.settings(seed=5)) == {**changed, "seed": 5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages.sft.freeze": ["tower"]}, "freeze: there is no part 'tower'; choose from vision"),
        (
            {"stages.sft.freeze": ["vision"], "model.lora": {}},
            "'sft': an adapter trains nothing else, leave freeze out",
        ),
        ({"stages.sft.freeze": ["vision"], "stages.sft.lora": {}}, "'sft': an adapter trains nothing else"),
        ({"model.lora": {}, "model.quantize": "4bit", "stages.rl.lora": False}, "leave lora: off out"),
        ({"stages.sft.resolution": {"min_pixels": 9, "max_pixels": 4}}, "min_pixels 9 is above max_pixels 4"),
        ({"stages.sft.resolution": {"min_pixels": 9, "max_pixel": 9}}, "did you mean 'max_pixels'"),
        ({"stages.rl.keep_best": "held_out/loss", "evaluation.every": 5}, "which only SFT stages have"),
        ({"data.train": []}, r"data\.train: Tuple should have at least 1 item"),
        (
            {"data.train": [{"data": "nuclei/train", "weight": 0}]},
            r"data\.train\.0\.weight: .* greater than 0",
        ),
        ({"data.train": [{"date": "nuclei/train"}]}, r"unknown key data\.train\.0\.date; did you mean 'data'"),
    ],
)
def test_faults_of_a_curriculum_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        recipe(**changes)


def test_an_adapter_may_be_left_out_of_one_stage():
    config = recipe(**{"model.lora": {"rank": 4}, "stages.sft.lora": False, "stages.sft.freeze": ["vision"]})
    assert config.stages[0].lora == "off"
    assert config.stages[1].lora is None


class TestAdapterAndCritic:
    """The keys of `model.lora`, `model.quantize` and a stage's `critic`."""

    def test_a_few_keys_with_defaults(self):
        config, _ = load_config("ppo", {"model.lora.rank": 8, "stages.rl.critic.lora": {}})
        assert (config.model.lora.rank, config.model.lora.targets, config.model.lora.dropout) == (8, "language", 0.0)
        settings = config.stages[1].settings(0)
        assert settings.critic.lora == LoraSettings()
        assert settings.critic.decay == 1.0

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ({"model.lora.rank": 0}, "model.lora.rank: Input should be greater than or equal to 1"),
            ({"model.lora.rnak": 8}, "unknown key model.lora.rnak; did you mean 'rank'"),
            ({"model.quantize": "4bit"}, "weights in 4 bits cannot be trained, set lora too"),
            ({"stages.rl.critic.vf_coeff": 1.0}, "unknown key stages.rl.critic.vf_coeff; did you mean 'vf_coef'"),
            ({"stages.rl.critic": None}, "stages.rl: advantage gae needs a critic: set critic, such as critic: {}"),
            ({"stages.rl.advantage": "grpo"}, "advantage grpo has no use for a critic"),
        ],
    )
    def test_faults_are_one_sentence(self, overrides, message):
        with pytest.raises(ConfigError, match=re.escape(message)):
            load_config("ppo", overrides)


def test_off_without_quotes_is_off():
    assert recipe(**parse_overrides(["audit=off"])).audit == "off"
