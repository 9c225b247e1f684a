"""One GRPO step computed by hand, and what stops a step."""

import math
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from groundrl.algorithms.learner import Learner
from groundrl.algorithms.schema import ObjectiveSettings
from groundrl.algorithms.settings import RLSettings
from groundrl.rewards import Completion, Example, Group, reward
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.settings import Sampling

A, END = 0, 1  # the whole vocabulary


class ToyModel(nn.Module):
    """The same two logits after any token."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([math.log(3.0), 0.0]))  # probabilities 3/4 and 1/4
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=2))
        self.generation_config = None

    def forward(self, input_ids, attention_mask, use_cache=False):
        return SimpleNamespace(logits=self.logits.expand(*input_ids.shape, 2))


class ToyTokenizer:
    """`a` is token 0; token 1 ends an answer."""

    chat_template = "toy"
    pad_token_id = eos_token_id = END

    def get_vocab(self):
        return {"a": A, "<end>": END}

    def apply_chat_template(self, turns, **kwargs):
        return turns[0]["content"]

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [A] * len(text)}


class ToyEngine:
    """Answers that are always the same: `a <end>` and `<end>`, with their true log-probs."""

    policy = None
    failures: ClassVar = {}

    def generate(self, examples, *, group_size, sampling, seed_keys):
        texts = {"a": (A, END), "": (END,)}
        chance = {A: math.log(3 / 4), END: math.log(1 / 4)}
        completions = tuple(
            Completion(
                text=text, token_ids=ids, sampled=(True,) * len(ids), logprobs=tuple(chance[token] for token in ids)
            )
            for text, ids in texts.items()
        )
        yield Group(example=examples[0], completions=completions)

    def sync(self, weights, version):
        pass


@reward
def says_a(completion: Completion, example: Example) -> float:
    return float(completion.text == "a")


def test_one_step_by_hand(rl_run):
    """Rewards 1 and 0: mean 1/2, std with Bessel's correction sqrt(1/2), so A = 0.5 / (0.707107 + 0.0001) = 0.707007.

    The policy has not moved since it sampled, so every ratio is 1 and dapo's loss is the mean of -A over the 3 tokens:
        L = -(A + A - A) / 3 = -A / 3
    With p = (3/4, 1/4), d log p(a) / d logits = (1 - 3/4, -1/4) and d log p(end) / d logits = (-3/4, 1 - 1/4):
        dL = -1/3 [A (1/4, -1/4) + A (-3/4, 3/4) - A (-3/4, 3/4)] = (-A / 12, A / 12), norm A sqrt(2) / 12
    AdamW's first step (no decay, bias-corrected) is lr g / (|g| + 1e-8) = lr sign(g):
        logits = (ln 3 + lr, 0 - lr)
    """
    policy = Policy(ToyModel(), ToyTokenizer(), None)
    gradients = []
    policy.model.logits.register_post_accumulate_grad_hook(lambda p: gradients.append(p.grad.clone()))
    (step,) = rl_run(
        policy,
        [Example(id="toy", prompt="aa")],
        reward=says_a,
        engine=ToyEngine(),
        steps=1,
        prompts_per_step=1,
        group_size=2,
        update="padded",
        lr=0.05,
        warmup_steps=0,
        sampling=Sampling(max_new_tokens=2),
    )
    a = 0.5 / (math.sqrt(0.5) + 1e-4)
    assert step.advantages == (pytest.approx((a,)), pytest.approx((-a,)))
    assert step.metrics["loss"] == pytest.approx(-a / 3, abs=1e-7)
    torch.testing.assert_close(gradients[-1], torch.tensor([-a / 12, a / 12]))
    assert step.metrics["grad_norm"] == pytest.approx(a * math.sqrt(2) / 12)
    torch.testing.assert_close(policy.model.logits.data, torch.tensor([math.log(3) + 0.05, -0.05]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert step.metrics["entropy"] == pytest.approx(entropy)
    assert step.metrics["sampler_gap"] == pytest.approx(0.0, abs=1e-6)
    assert step.metrics["clip_frac"] == step.metrics["approx_kl"] == step.metrics["ref_kl"] == 0.0
    assert step.metrics["reward/mean"] == 0.5
    assert policy.version == 1


@reward
def nothing(completion: Completion, example: Example) -> float:
    return 0.5


def test_the_entropy_bonus_by_hand(rl_run):
    """Without advantages the loss is -c H, H = 0.562335 for p = (3/4, 1/4), the same at each of the 3 tokens.

    dH / d logit_i = -p_i (ln p_i + H), so that the gradient of the loss is c p_i (ln p_i + H).
    """
    policy = Policy(ToyModel(), ToyTokenizer(), None)
    gradients = []
    policy.model.logits.register_post_accumulate_grad_hook(lambda p: gradients.append(p.grad.clone()))
    (step,) = rl_run(
        policy,
        [Example(id="toy", prompt="aa")],
        reward=nothing,
        engine=ToyEngine(),
        steps=1,
        prompts_per_step=1,
        group_size=2,
        update="padded",
        micro_batch_tokens=1,  # shares of two micro-batches add up
        clipping=ObjectiveSettings(entropy_coef=0.1),
        sampling=Sampling(max_new_tokens=2),
    )
    p = torch.tensor([0.75, 0.25])
    entropy = -(p * p.log()).sum()
    assert step.metrics["loss"] == pytest.approx(-0.1 * entropy.item())
    assert step.metrics["entropy"] == pytest.approx(entropy.item())
    torch.testing.assert_close(gradients[-1], 0.1 * p * (p.log() + entropy))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(text_policy, text_examples, rl_run, value):
    """In step 2 alone: its update never reaches the weights, steps 1 and 3 are learned from."""
    bad = {1: value}  # by policy version, which a skipped update leaves as it is
    text_policy.model.lm_head.weight.register_hook(lambda gradient: gradient * bad.pop(text_policy.version, 1.0))
    seen = []

    def record(step):
        seen.append((step, text_policy.model.lm_head.weight.clone()))

    rl_run(text_policy, text_examples, steps=3, warmup_steps=4, record=record)
    assert [step.metrics["updates/skipped"] for step, _ in seen] == [0.0, 1.0, 0.0]
    assert [math.isfinite(step.metrics["grad_norm"]) for step, _ in seen] == [True, False, True]
    assert [step.metrics["lr"] for step, _ in seen] == pytest.approx([5e-4, 5e-4, 7.5e-4])
    assert torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[1][1], seen[2][1])
    assert text_policy.version == 2


def test_a_run_stops_after_too_many_skipped_updates_in_a_row(text_policy, text_examples, rl_run):
    before = {name: tensor.clone() for name, tensor in text_policy.model.state_dict().items()}
    text_policy.model.lm_head.weight.register_hook(lambda gradient: gradient * float("nan"))
    message = r"step 2: the gradient's norm is nan, and 3 updates in a row .*max_bad_steps.*; lower lr or look at"
    with pytest.raises(FloatingPointError, match=message):
        rl_run(text_policy, text_examples, steps=9, epochs=2, max_bad_steps=3)
    after = text_policy.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_warm_up_is_linear_and_then_constant(text_policy, text_examples, rl_run):
    steps = rl_run(text_policy, text_examples, steps=4, lr=1e-4, warmup_steps=3, sampling=Sampling(max_new_tokens=2))
    # `lr` is that of the next update: 2/3 of it after the first step
    assert [s.metrics["lr"] for s in steps] == pytest.approx([2e-4 / 3, 1e-4, 1e-4, 1e-4])


def test_prompts_must_divide_among_processes(text_policy, even_ids, monkeypatch):
    monkeypatch.setattr(Fabric, "world_size", 2)
    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(ValueError, match="prompts_per_step 3 is not divisible by 2 processes"):
        Learner(text_policy, None, RLSettings(name="rl", steps=1, prompts_per_step=3), fabric, None, even_ids)


def test_greedy_sampling_is_refused():
    with pytest.raises(ValueError, match="temperature 0 is greedy"):
        RLSettings(name="rl", steps=1, sampling=Sampling(temperature=0.0))


@pytest.mark.parametrize("cut", [{"top_k": 5}, {"top_p": 0.9}, {"min_p": 0.1}])
def test_sampling_from_another_distribution_than_the_policys_is_refused(cut):
    with pytest.raises(ValueError, match="top_k, top_p and min_p draw from another distribution"):
        RLSettings(name="rl", steps=1, sampling=Sampling(**cut))


def test_dropout_is_off_in_rl(text_policy, even_ids):
    text_policy.model.train()
    fabric = Fabric(accelerator="cpu", devices=1)
    learner = Learner(text_policy, None, RLSettings(name="rl", steps=1), fabric, None, even_ids)
    assert not any(module.training for module in learner.logprobs.modules())
