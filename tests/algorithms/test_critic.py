"""The critic: values of a toy MDP that are known, GAE against a slow loop, the losses by hand, and PPO in the loop."""

import math

import pytest
import torch
from lightning.fabric import Fabric

from groundrl.algorithms.advantages.gae import gae
from groundrl.algorithms.critic import Critic, ValueHead, explained_variance, return_sums, value_losses
from groundrl.algorithms.schema import CriticSettings, ObjectiveSettings
from groundrl.algorithms.settings import RLSettings
from groundrl.rewards import reward
from groundrl.rollout.forward.batches import PaddedBatch, pad_batch
from groundrl.rollout.model.adapters import POLICY
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.settings import LoraSettings

PPO = {"advantage": "gae", "objective": "ppo", "critic": CriticSettings(lr=0.05, warmup_steps=0)}
LORA = LoraSettings(rank=2)


def test_values_of_a_toy_mdp_converge_to_the_known_ones(make_window, learn_batch):
    """A walk of 3 tokens that ends in a reward of 1 with probability 0.8 from state `good`, 0.3 from `bad`.

    The first token leads from `start` to either with probability 1/2, the second stays, the third pays. So the values
    before each token are `start` (0.8 + 0.3) / 2 = 0.55, `good` 0.8 and `bad` 0.3 (twice each), with gamma 1.
    Hidden states are one-hot, so that a linear head can hold every value. Learned by TD(lambda) from samples.
    """
    torch.manual_seed(0)
    states = torch.eye(5, 16)  # start, good early, good late, bad early, bad late
    head = ValueHead(16, [])
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02, weight_decay=0.0)
    known = torch.tensor([0.55, 0.8, 0.8, 0.3, 0.3])
    for _ in range(300):
        good = torch.rand(64) < 0.5
        paths = torch.where(good[:, None], torch.tensor([0, 1, 2]), torch.tensor([0, 3, 4]))
        paid = (torch.rand(64) < torch.where(good, 0.8, 0.3)).float()
        old_NT = head(states[paths]).detach()
        window = make_window(paid.reshape(16, 4).tolist(), lengths=[3] * 64, values_NT=old_NT)
        returns_NT = gae(window, decay=0.9) + old_NT
        optimizer.zero_grad()
        value_losses(head(states[paths]), old_NT, returns_NT, clip=0.2).mean().backward()
        optimizer.step()
    torch.testing.assert_close(head(states).detach(), known, rtol=0, atol=0.06)
    torch.testing.assert_close(ValueHead(16, [])(states), torch.zeros(5))


def test_gae_is_the_slow_double_sum(make_window):
    """`A_t = sum over k of (gamma lambda)^k delta_(t+k)`, each term written out, for every completion and token."""
    generator = torch.Generator().manual_seed(0)
    lengths = [4, 1, 3, 2]
    values_NT = torch.randn((4, 4), generator=generator)
    window = make_window([[1.0, 0.0], [0.3, 0.7]], lengths=lengths, values_NT=values_NT)
    advantages_NT = gae(window, discount=0.9, decay=0.8)
    rewards = [1.0, 0.0, 0.3, 0.7]
    for n, length in enumerate(lengths):
        v = [*values_NT[n, :length].tolist(), 0.0]
        delta = [(rewards[n] if t == length - 1 else 0.0) + 0.9 * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            expected = sum((0.9 * 0.8) ** k * delta[t + k] for k in range(length - t))
            assert advantages_NT[n, t].item() == pytest.approx(expected, abs=1e-6)


def test_value_losses_by_hand():
    """Old value 0, clip 0.2, return 1. At 0.5: the clipped value 0.2 is farther off, so (0.2 - 1)^2 / 2, no gradient.

    At 0.1, within the clip: (0.1 - 1)^2 / 2. At -0.5, moved away: (-0.5 - 1)^2 / 2 is the larger, with a gradient back.
    """
    values = torch.tensor([[0.5, 0.1, -0.5]], requires_grad=True)
    losses = value_losses(values, torch.zeros(1, 3), torch.ones(1, 3), clip=0.2)
    torch.testing.assert_close(losses.detach(), torch.tensor([[0.32, 0.405, 1.125]]))
    losses.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[0.0, -0.9, -1.5]]))
    torch.testing.assert_close(
        value_losses(values, torch.zeros(1, 3), torch.ones(1, 3), clip=None).detach()[0, 0], torch.tensor(0.125)
    )


def test_explained_variance_by_hand(make_window):
    """Returns 1 and 0 over two completions of 1 and 3 tokens: mean 1/4, squared deviations 1 - 4/16 = 3/4.

    Values that are the returns explain all of it, a constant nothing, and values 0.5 for the first and 0 else leave
    errors 0.5, 0, 0, 0: squared deviations 1/4 - 4 (1/8)^2 = 3/16, a quarter of 3/4.
    """
    for values, expected in (([1.0, 0.0], 1.0), ([0.3, 0.3], 0.0), ([0.5, 0.0], 0.75)):
        values_NT = torch.tensor(values)[:, None].expand(2, 3)
        window = make_window([[1.0, 0.0]], lengths=[1, 3], values_NT=values_NT)
        assert explained_variance(return_sums(window, discount=1.0)) == pytest.approx(expected)
    window = make_window([[0.5, 0.5]], lengths=[1, 3], values_NT=torch.zeros(2, 3))
    assert math.isnan(explained_variance(return_sums(window, discount=1.0)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"advantage": "gae"}, "advantage gae needs a critic: set critic"),
        ({"critic": CriticSettings()}, "advantage grpo has no use for a critic"),
    ],
)
def test_gae_and_a_critic_go_together(settings, message):
    with pytest.raises(ValueError, match=message):
        RLSettings(name="rl", steps=1, **settings)


def test_an_adapter_of_its_own_is_not_for_the_policys_layers():
    with pytest.raises(ValueError, match=r"critic.lora leaves them: set one of them"):
        CriticSettings(vf_coef=0.1, lora=LORA)


def test_an_adapter_of_its_own_needs_frozen_weights(text_policy):
    with pytest.raises(ValueError, match=r"critic.lora rests on frozen weights: set model.lora"):
        Critic(text_policy, CriticSettings(lora=LORA), Fabric(accelerator="cpu", devices=1), seed=0)


def test_in_its_first_step_the_critic_learns_alone(text_policy, text_examples, rl_run):
    before = {name: tensor.clone() for name, tensor in text_policy.weights().items()}
    rl_run(text_policy, text_examples, steps=1, **PPO | {"critic": CriticSettings()})
    assert all(torch.equal(tensor, before[name]) for name, tensor in text_policy.weights().items())
    assert text_policy.version == 0


def test_it_starts_from_the_mean_return_of_the_first_window(text_policy, text_examples, rl_run):
    """Its values are 0 in the first step, so that all advantages are scores; then some answers are worse than it."""
    critic = CriticSettings(lr=1e-9, warmup_steps=2)
    first, second = rl_run(text_policy, text_examples, steps=2, **PPO | {"critic": critic})
    scores = [score.value for group in first.groups for score in group.scores]
    assert [advantages[0] for advantages in first.advantages] == pytest.approx(scores)
    scores = [score.value for group in second.groups for score in group.scores]
    mean = scores[0] - second.advantages[0][0]
    weights = [len(completion.token_ids) for group in first.groups for completion in group.completions]
    assert mean == pytest.approx(sum(w * a[0] for w, a in zip(weights, first.advantages, strict=True)) / sum(weights))


@pytest.mark.parametrize(("vf_coef", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_vf_coef_is_the_share_of_its_gradient_that_reaches_the_policys_layers(
    text_policy, text_examples, vf_coef, share
):
    fabric = Fabric(accelerator="cpu", devices=1)
    critic = Critic(text_policy, CriticSettings(vf_coef=vf_coef), fabric, seed=0)
    torch.nn.init.ones_(critic.head.module.weight)
    batch = pad_batch(text_policy, [text_policy.encode(example) for example in text_examples], [[5, 6], [7], [8, 9]])
    hidden = torch.randn(3, 2, 32, requires_grad=True)
    critic.values(batch, hidden).square().sum().backward()
    whole = hidden.detach().clone().requires_grad_()
    (critic.head(whole).square() * batch.completion_mask).sum().backward()
    found = torch.zeros_like(hidden) if hidden.grad is None else hidden.grad
    torch.testing.assert_close(found, share * whole.grad)
    assert critic.head.module.weight.grad.any(), "the head itself learns in any case"


@pytest.mark.parametrize("kind", ["head", "shared", "adapter"])
def test_ppo_learns_and_goes_on_exactly_after_a_kill(kind, tiny_text, text_examples, rl_run, untimed, tmp_path):
    """Two epochs a window, KL in the reward; killed in step 4 after the checkpoint of step 2."""
    critic = {
        "head": CriticSettings(lr=0.05, warmup_steps=1),
        "shared": CriticSettings(lr=0.05, vf_coef=0.1, value_clip=None, decay=0.95),
        "adapter": CriticSettings(lr=0.01, lora=LORA, decay=0.95),
    }[kind]
    clipping = ObjectiveSettings(kl_coef=0.05, kl_in_reward=True)
    settings = PPO | {"critic": critic, "epochs": 2, "steps": 4, "checkpoint_every": 2, "clipping": clipping}

    def policy() -> Policy:
        made = Policy.load(tiny_text)
        if kind == "adapter":
            made.adapters.add(POLICY, LORA, seed=0)
        return made

    class Killed(Exception):
        pass

    def kill(step) -> None:
        if step.step == 4:
            raise Killed

    straight, resumed = policy(), policy()
    expected = rl_run(straight, text_examples, folder=tmp_path / "straight", **settings)
    with pytest.raises(Killed):
        rl_run(policy(), text_examples, record=kill, folder=tmp_path / "killed", **settings)
    again = rl_run(resumed, text_examples, folder=tmp_path / "killed", **settings)
    assert [step.step for step in again] == [3, 4]
    for made_again, step in zip(again, expected[2:], strict=True):
        assert untimed(made_again) == untimed(step)
        assert made_again.advantages == step.advantages
    assert all(torch.equal(tensor, straight.weights()[name]) for name, tensor in resumed.weights().items())
    assert all(step.metrics["value_loss"] > 0 for step in expected)
    assert expected[0].metrics["explained_variance"] == pytest.approx(0.0, abs=1e-6)
    assert len(set(expected[2].advantages[0])) > 1, "an advantage of its own for each token"


def test_its_values_follow_a_reward_that_the_state_tells(tiny_text, text_examples, rl_run):
    """Which of the prompts it is decides most of the reward of these answers: soon the critic explains some of it."""

    @reward
    def by_prompt(completion, example) -> float:
        return 0.9 * (example.id == "t0") + 0.01 * (completion.token_ids[0] % 2)

    critic = CriticSettings(lr=0.05, warmup_steps=30)
    steps = rl_run(
        Policy.load(tiny_text),
        text_examples,
        reward=by_prompt,
        steps=20,
        prompts_per_step=3,
        **PPO | {"critic": critic},
    )
    assert steps[-1].metrics["explained_variance"] > 0.2


@pytest.mark.parametrize(("lora", "forwards"), [(None, 2), (LORA, 4)])
def test_a_head_reads_the_forward_of_the_log_probs(tiny_text, text_examples, rl_run, monkeypatch, lora, forwards):
    """One pass over the model before the update and one in it; an adapter of its own doubles that."""
    policy, calls = Policy.load(tiny_text), []
    policy.adapters.add(POLICY, LORA, seed=0)
    hidden = PaddedBatch.hidden
    monkeypatch.setattr(PaddedBatch, "hidden", lambda self, policy: (calls.append(1), hidden(self, policy))[1])
    rl_run(
        policy,
        text_examples,
        steps=1,
        update="padded",
        micro_batch_tokens=10_000,
        **PPO | {"critic": CriticSettings(lora=lora)},
    )
    assert len(calls) == forwards
