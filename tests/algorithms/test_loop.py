"""The RL loop: repeatable, resumable, and it learns."""

import json
import math
import shutil
from contextlib import nullcontext
from dataclasses import replace
from typing import ClassVar
from unittest.mock import patch

import numpy as np
import pytest
import torch

from groundrl.algorithms.learner import Learner
from groundrl.algorithms.loop import RLStep
from groundrl.algorithms.schema import ObjectiveSettings
from groundrl.rewards import Completion, Example, GroundRLWarning, Reward, Score, reward
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.settings import Sampling

# Everything that a resume must bring back: optimiser, schedule, reference, several epochs with old log-probs.
FULL = {"epochs": 2, "warmup_steps": 3, "weight_decay": 0.01, "clipping": ObjectiveSettings(kl_coef=0.05)}


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}


def assert_identical(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_same_run_twice_is_identical(tiny_vl, vl_examples, rl_run, untimed, tmp_path):
    runs = []
    for _ in range(2):
        policy = Policy.load(tiny_vl)
        before = weights(policy)
        steps = rl_run(policy, vl_examples, steps=2, **FULL)
        runs.append((weights(policy), [(untimed(s), s.groups, s.advantages) for s in steps]))
    assert not torch.equal(before["lm_head.weight"], runs[0][0]["lm_head.weight"]), "nothing was learned"
    assert_identical(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


def test_another_seed_is_another_run(tiny_text, text_examples, rl_run):
    one, other = (rl_run(Policy.load(tiny_text), text_examples, steps=1, seed=seed) for seed in (0, 1))
    assert one[0].groups != other[0].groups


def test_a_truncated_sampler_is_corrected_by_what_its_nucleus_holds(tiny_text, text_examples, rl_run):
    """`q = p / Z` inside the nucleus of mass Z, so a token's weight `p / q` is Z: from top_p up to 1, never above."""
    settings = {
        "sampling": Sampling(max_new_tokens=6, top_p=0.5),
        "clipping": ObjectiveSettings(importance_correction="token_truncate"),
    }
    (step,) = rl_run(Policy.load(tiny_text), text_examples, steps=1, **settings)
    assert 0.5 <= step.metrics["importance_weight"] < 0.99
    assert 0.01 < step.metrics["sampler_gap"] <= math.log(2) + 1e-4


class Killed(Exception):
    """What ends a run from outside, as far as the loop is concerned."""


def test_a_resumed_run_is_identical_to_one_that_never_stopped(tiny_vl, vl_examples, rl_run, untimed, tmp_path):
    """Killed in step 4, after the checkpoint of step 2: step 3 is made again, and nothing differs by a bit."""
    straight = Policy.load(tiny_vl)
    expected = rl_run(straight, vl_examples, steps=4, **FULL)

    def killed_in_step_4(step: RLStep) -> None:
        if step.step == 4:
            raise Killed

    settings = {"folder": tmp_path / "stage", "steps": 4, "checkpoint_every": 2, **FULL}
    with pytest.raises(Killed):
        rl_run(Policy.load(tiny_vl), vl_examples, record=killed_in_step_4, **settings)
    resumed = Policy.load(tiny_vl)
    again = rl_run(resumed, vl_examples, **settings)
    assert [step.step for step in again] == [3, 4]
    assert_identical(weights(resumed), weights(straight))
    for made_again, step in zip(again, expected[2:], strict=True):
        assert untimed(made_again) == untimed(step)
        assert made_again.groups == step.groups  # tokens, sampler log-probs, policy versions, scores
        assert made_again.advantages == step.advantages
        versions = {c.policy_version for group in step.groups for c in group.completions}
        assert versions == {2 * (step.step - 1)}  # two updates a step


def test_micro_batches_change_nothing_but_rounding(tiny_text, text_examples, rl_run, untimed):
    """Gradients, not weights: AdamW's first step is the gradient's sign, which rounding flips where it is near 0."""
    runs = []
    for size in (1, 100, 10_000):
        policy = Policy.load(tiny_text)
        gradients = {}
        for name, parameter in policy.model.named_parameters():
            parameter.register_post_accumulate_grad_hook(
                lambda p, name=name, kept=gradients: kept.update({name: p.grad.clone()})
            )
        (step,) = rl_run(policy, text_examples, steps=1, micro_batch_tokens=size)
        runs.append((gradients, untimed(step)))
    for gradients, metrics in runs[:-1]:
        torch.testing.assert_close(gradients, runs[-1][0], rtol=0, atol=1e-6)
        assert metrics == pytest.approx(runs[-1][1], abs=1e-5)


def test_it_learns(tiny_text, text_examples, rl_run):
    steps = rl_run(
        Policy.load(tiny_text), text_examples, steps=20, lr=3e-2, warmup_steps=0, prompts_per_step=3, group_size=8
    )
    means = [step.metrics["reward/mean"] for step in steps]
    assert sum(means[-3:]) / 3 > sum(means[:3]) / 3 + 0.2


def test_completions_without_a_score_are_masked_and_counted(tiny_text, text_examples, rl_run):
    """A reward that abstains on all but one completion of each group drops the groups: nothing is learned, no error."""
    seen: set[str] = set()

    @reward
    def first_only(completion: Completion, example: Example) -> float | None:
        new = example.id not in seen
        seen.add(example.id)
        return 1.0 if new else None

    policy = Policy.load(tiny_text)
    before = weights(policy)
    (step,) = rl_run(policy, text_examples, reward=first_only, steps=1)
    assert step.metrics["groups/dropped"] == 2
    assert step.metrics["completions/masked"] == 6
    assert step.metrics["loss"] == step.metrics["grad_norm"] == 0.0
    assert_identical(weights(policy), before)


@pytest.fixture
def counted():
    """A reward that differs with every call, as a judge may; `seen` are the texts that it was asked about."""
    seen = []

    @reward
    def fickle(completion: Completion, example: Example) -> float:
        seen.append(completion.text)
        return (len(seen) % 7) / 7 * np.random.random() * float(torch.rand(()))

    return fickle, seen


def test_a_window_is_replayed_and_its_scores_are_not_asked_for_again(
    tiny_text, text_examples, rl_run, untimed, counted, tmp_path
):
    """Killed in the second update of step 3; its window and that of step 2 are on disk, the checkpoint is of step 1.

    The reward draws from shared generators, so that step 4, which is sampled, needs them where they stood. (Python's
    own is left out: beartype draws from it as well.)
    """
    fickle, seen = counted
    settings = {"folder": tmp_path / "killed", "steps": 4, "checkpoint_every": 1, "reward": fickle, **FULL}

    def start() -> Policy:
        seen.clear()
        np.random.seed(0)
        torch.manual_seed(0)
        return Policy.load(tiny_text)

    straight = start()
    expected = rl_run(straight, text_examples, **settings | {"folder": tmp_path / "straight"})
    assert len(seen) == 32

    policy, update = start(), Learner.update

    def killed_in_update_6(learner) -> None:
        if policy.version == 5:
            raise Killed
        update(learner)

    with patch.object(Learner, "update", killed_in_update_6), pytest.raises(Killed):
        rl_run(policy, text_examples, **settings)
    assert len(seen) == 24
    shutil.rmtree(tmp_path / "killed" / "step-000002")
    resumed = Policy.load(tiny_text)
    again = rl_run(resumed, text_examples, **settings)
    assert len(seen) == 32  # step 4 alone is scored
    assert [untimed(step) for step in again] == [untimed(step) for step in expected[1:]]
    assert [step.groups for step in again] == [step.groups for step in expected[1:]]
    assert_identical(weights(resumed), weights(straight))


def test_a_replayed_window_remembers_what_was_thrown_away(tiny_text, text_examples, rl_run, untimed, tmp_path):
    """Dynamic sampling: fresh prompts, their cost and the scores that the reward observes come back too."""
    settings = {"steps": 3, "dynamic_sampling": 3, "reward": Flat(), "folder": tmp_path / "rl", "epochs": 2}
    straight = Policy.load(tiny_text)
    expected = rl_run(straight, text_examples, **settings)
    assert expected[0].metrics["rollout/extra_prompts"] > 0
    resumed = Policy.load(tiny_text)
    again = rl_run(resumed, text_examples, **settings | {"reward": (after := Flat()), "engine": NoEngine()})
    assert [untimed(step) for step in again] == [untimed(step) for step in expected]
    assert [step.groups for step in again] == [step.groups for step in expected]
    assert after.state_dict() == settings["reward"].state_dict()
    assert_identical(weights(resumed), weights(straight))


class Flat(Reward):
    """Flat for one prompt; remembers every score that it was told."""

    def __init__(self) -> None:
        self.told = []

    def score(self, completion: Completion, example: Example) -> Score:
        value = 0.0 if example.id == "t1" else sum(completion.token_ids) % 7 / 7
        return Score(value=value, detail={"n": len(self.told)})

    def observe(self, scores) -> None:
        self.told += [(score.value, score.detail) for score in scores]

    def state_dict(self):
        return {"told": self.told} if self.told else {}


class NoEngine:
    """Must not be asked: everything is replayed."""

    policy = None
    failures: ClassVar = {}

    def generate(self, *arguments, **keys):
        raise AssertionError("sampled again")

    def sync(self, weights, version) -> None:
        pass


@pytest.mark.parametrize("harm", ["cut", "flipped", "garbage", "of_another_reward", "of_other_data"])
def test_a_window_that_does_not_fit_is_sampled_anew(
    tiny_text, text_examples, rl_run, untimed, even_ids, harm, tmp_path
):
    folder = tmp_path / "rl"
    (expected,) = rl_run(Policy.load(tiny_text), text_examples, steps=1, folder=folder)
    (window,) = (folder / "windows").iterdir()
    data = window.read_bytes()
    what, examples = even_ids, text_examples
    if harm == "of_another_reward":
        what = 1.0 * even_ids.named("renamed")
    elif harm == "of_other_data":
        examples = [replace(example, id=f"new-{example.id}") for example in text_examples]
    else:
        at = data.index(expected.groups[0].seed_key.encode())
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        window.write_bytes({"cut": data[:-20], "garbage": b"no parquet", "flipped": flipped}[harm])
    warned = nullcontext() if harm == "of_another_reward" else pytest.warns(GroundRLWarning, match="sampled anew")
    with warned:
        (again,) = rl_run(Policy.load(tiny_text), examples, steps=1, folder=folder, reward=what)
    assert [g.completions for g in again.groups] == [g.completions for g in expected.groups]
    if examples is text_examples and what is even_ids:
        assert untimed(again) == untimed(expected)


def test_the_best_policy_is_kept_by_a_metric(tiny_text, text_examples, rl_run, tmp_path):
    settings = {"steps": 4, "keep_best": "reward/mean", "folder": tmp_path / "rl"}
    steps = rl_run(Policy.load(tiny_text), text_examples, **settings)
    best = max(steps, key=lambda step: step.metrics["reward/mean"])
    found = json.loads((tmp_path / "rl" / "best" / "best.json").read_text())
    assert found == {"metric": "reward/mean", "value": best.metrics["reward/mean"], "step": best.step}


def test_a_metric_that_does_not_exist_cannot_be_the_best(text_policy, text_examples, rl_run):
    with pytest.raises(ValueError, match=r"keep_best: there is no metric 'reward'; there are .*reward/mean"):
        rl_run(text_policy, text_examples, steps=1, keep_best="reward")


def test_every_step_is_recorded_before_its_checkpoint_and_old_ones_go(tiny_text, text_examples, rl_run, tmp_path):
    folder, found = tmp_path / "stage", []
    rl_run(
        Policy.load(tiny_text),
        text_examples,
        steps=4,
        checkpoint_every=1,
        folder=folder,
        sampling=Sampling(max_new_tokens=2),
        record=lambda step: found.append((step.step, sorted(f.name for f in folder.glob("step-*")))),
    )
    assert found == [
        (1, []),
        (2, ["step-000001"]),
        (3, ["step-000001", "step-000002"]),
        (4, ["step-000002", "step-000003"]),
    ]
    assert sorted(f.name for f in folder.iterdir()) == ["step-000003", "step-000004", "windows"]
    assert [f.name for f in (folder / "windows").iterdir()] == [
        "step-000004.rank-0.parquet"
    ]  # for step 3, if 4 is torn
