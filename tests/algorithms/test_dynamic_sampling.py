"""Groups without variance give way to fresh prompts: which, how many, and that a resumed run draws the same ones."""

from collections.abc import Iterator

import pytest
import torch
from lightning.fabric import Fabric

from groundrl.algorithms.dynamic_sampling import Draw
from groundrl.algorithms.settings import RLSettings
from groundrl.rewards import Completion, Example, Group, Score, reward
from groundrl.rollout.io.order import ShuffledOrder
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling

START = 5  # prompts drawn by the steps before


@pytest.fixture
def draw(text_policy, text_examples):
    """`draw(budget)`: a step of four prompts over three examples, on one process."""

    def make(dynamic_sampling: int) -> Draw:
        settings = RLSettings(
            name="rl", steps=9, prompts_per_step=4, group_size=2, dynamic_sampling=dynamic_sampling, seed=3
        )
        loader = Loader(text_policy, text_examples, reserve=6)
        order = ShuffledOrder(len(text_examples), seed=3)
        return Draw(loader, order, settings, Fabric(accelerator="cpu", devices=1), step=7, start=START)

    return make


def play(draw: Draw, *, flat: set[int], missing: set[int] = frozenset(), reverse: bool = False) -> list[list[int]]:
    """Sample until the draw has all; prompts `flat` score 1/2 twice, others 0 and 1. The prompts of each round."""
    rounds = []
    while draw.unfinished:
        prompts = draw.prompts
        numbers = [int(key.removeprefix("3/rollout/rl/7/")) for key in prompts.seed_keys]
        assert [example.id for example in prompts.examples] == [
            draw.loader[draw.order[START + number]][0].id for number in numbers
        ]
        rounds.append(numbers)
        groups = []
        for index, (example, number) in enumerate(zip(prompts.examples, numbers, strict=True)):
            values = (0.5, 0.5) if number in flat else (None, 1.0) if number in missing else (0.0, 1.0)
            scores = tuple(Score(value=v, status="error" if v is None else "ok") for v in values)
            pair = (Completion(text=""),) * 2
            groups.append(Group(example=example, completions=pair, scores=scores, index=index, seed_key=str(number)))
        draw.keep(groups[::-1] if reverse else groups)
    return rounds


def kept(draw: Draw) -> list[int]:
    return [int(group.seed_key) for group in draw.groups]


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "as they finish"])
def test_places_without_variance_take_the_next_prompts_until_the_budget_is_spent(draw, reverse):
    """Prompts 1, 3 and 4 have none; 4 and 5 are drawn for 1 and 3, then 6, the last of three, for 4."""
    step = draw(3)
    assert play(step, flat={1, 3, 4}, reverse=reverse) == [[0, 1, 2, 3], [4, 5], [6]]
    assert kept(step) == [0, 6, 2, 5]
    assert step.drawn == 7
    assert step.metrics(step.groups) == {
        "groups/resampled": 2.0,
        "rollout/extra_prompts": 3.0,
        "rollout/reward_mean": 0.5,
    }
    assert [score.value for score in step.discarded] == [0.5] * 6


def test_what_the_budget_does_not_reach_stays(draw):
    step = draw(2)
    assert play(step, flat={0, 1, 2, 3, 4}) == [[0, 1, 2, 3], [4, 5]]
    assert kept(step) == [4, 5, 2, 3], "places in order; prompt 4 has no variance either, but nothing is left"


def test_a_group_with_one_score_left_teaches_nothing_either(draw):
    step = draw(8)
    assert play(step, flat=set(), missing={2}) == [[0, 1, 2, 3], [4]]
    assert kept(step) == [0, 1, 4, 3]
    metrics = step.metrics(step.groups)
    assert metrics["rollout/reward_mean"] == pytest.approx((4 * 1.0 + 1.0) / 9), "a missing score is no zero"


def test_off_is_one_round_and_no_metrics(draw):
    step = draw(0)
    assert play(step, flat={0, 1, 2, 3}) == [[0, 1, 2, 3]]
    assert (kept(step), step.drawn, step.metrics(step.groups), step.discarded) == ([0, 1, 2, 3], 4, {}, [])


def test_all_informative_costs_nothing(draw):
    step = draw(5)
    assert play(step, flat=set()) == [[0, 1, 2, 3]]
    assert step.metrics(step.groups)["rollout/extra_prompts"] == 0.0


class Watching(LocalEngine):
    """The local engine, with a list of the examples it was asked for."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.asked: list[str] = []

    def generate(self, examples, **how) -> Iterator[Group]:
        self.asked += [example.id for example in examples]
        return super().generate(examples, **how)


@reward
def flat_on_t0(completion: Completion, example: Example) -> float:
    """No variance on one of three examples."""
    return 0.25 if example.id == "t0" else sum(completion.token_ids) % 7 / 7


class Killed(Exception):
    """What ends a run from outside."""


def test_prompts_go_on_where_the_last_step_stopped_resumed_or_not(tiny_text, text_examples, rl_run, untimed, tmp_path):
    """The order is visited without a gap, whatever the steps cost; a resumed run draws what the other drew.

    The seed is one whose first prompt has no variance, so that the later steps start further on.
    """
    seed = next(seed for seed in range(100) if ShuffledOrder(3, seed=seed)[0] == 0)
    settings = {
        "seed": seed,
        "reward": flat_on_t0,
        "steps": 3,
        "dynamic_sampling": 2,
        "checkpoint_every": 1,
        "sampling": Sampling(max_new_tokens=4),
    }
    straight = Policy.load(tiny_text)
    engine = Watching(straight)
    expected = rl_run(straight, text_examples, engine=engine, folder=tmp_path / "straight", **settings)
    order = ShuffledOrder(3, seed=seed)
    assert engine.asked == [f"t{order[k]}" for k in range(len(engine.asked))]
    extra = [step.metrics["rollout/extra_prompts"] for step in expected]
    assert extra[0] > 0
    assert len(engine.asked) == 6 + sum(extra)
    assert {group.example.id for step in expected for group in step.groups} == {"t1", "t2"}
    assert all(step.metrics["groups/zero_variance"] == 0 for step in expected)

    def killed_in_step_3(step):
        if step.step == 3:
            raise Killed

    with pytest.raises(Killed):
        rl_run(Policy.load(tiny_text), text_examples, record=killed_in_step_3, folder=tmp_path / "stage", **settings)
    resumed = Policy.load(tiny_text)
    (again,) = rl_run(resumed, text_examples, folder=tmp_path / "stage", **settings)
    assert (again.groups, untimed(again)) == (expected[2].groups, untimed(expected[2]))
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, straight.model.state_dict()[name]), name


def test_a_reward_that_learns_is_told_the_scores_thrown_away(tiny_text, text_examples, rl_run):
    told: list[float] = []

    class Telling(type(flat_on_t0)):
        def observe(self, scores):
            told.extend(score.value for score in scores)

    telling = flat_on_t0.named("telling")
    object.__setattr__(telling, "__class__", Telling)
    (step,) = rl_run(
        Policy.load(tiny_text), text_examples, reward=telling, steps=1, prompts_per_step=3, dynamic_sampling=1
    )
    assert len(told) == 4 * (3 + step.metrics["rollout/extra_prompts"]) == 16
    assert told.count(0.25) >= 4


@pytest.mark.parametrize("advantage", ["gae", "reinforce_pp"])
def test_it_is_refused_where_groups_without_variance_teach(advantage):
    with pytest.raises(ValueError, match=f"but advantage {advantage} learns from them too: set it to 0"):
        RLSettings(name="rl", steps=1, advantage=advantage, dynamic_sampling=1)


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match=r"dynamic_sampling\n.*greater than or equal to 0"):
        RLSettings(name="rl", steps=1, dynamic_sampling=-1)
