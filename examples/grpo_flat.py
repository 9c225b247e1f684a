"""The whole of GRPO in one flat file, to be read from top to bottom.

A tiny Qwen3-VL that has only ever seen rendered cells learns to box real nuclei, from nothing but the score of its own
answers: `python examples/grpo_flat.py` (about a minute on a laptop's CPU). What `groundrl train` adds to this is speed
(a prompt is computed once for its group), many processes, checkpoints, records and checks; the losses are the same.

Shapes: G completions of one prompt, P prompt tokens, T completion tokens, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import groundrl.experiments
from groundrl.experiments import NucleiCrops
from groundrl.rewards import Format, Group, LabelAccuracy, SoftF1, score_group
from groundrl.rollout import LocalEngine, Policy, Sampling

BASE = Path(groundrl.experiments.__file__).parent / "base"  # the model that the package ships
REWARD = 0.6 * SoftF1() + 0.3 * LabelAccuracy() + 0.1 * Format()
CLIP_LOW, CLIP_HIGH = 0.2, 0.28  # how far a token's probability may move below and above what it was
STD_EPS = 1e-4


def grpo(
    policy: Policy,
    examples: NucleiCrops,
    *,
    steps: int,
    prompts_per_step: int = 8,
    group_size: int = 8,
    epochs: int = 2,
    lr: float = 1e-4,
    warmup_steps: int = 5,
    max_new_tokens: int = 96,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train in place; for each step its `loss` (the mean over epochs) and its mean `reward`."""
    policy.model.eval()  # no dropout: what samples and what learns are one policy
    parameters = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: min(1.0, (update + 1) / warmup_steps))
    engine = LocalEngine(policy)
    sampling = Sampling(temperature=1.0, max_new_tokens=max_new_tokens)
    history = []
    for step in range(steps):
        # 1. Sample a group of answers to each prompt. Each prompt has a key, and the key alone decides its noise.
        numbers = range(step * prompts_per_step, (step + 1) * prompts_per_step)
        sampled = engine.generate(
            [examples[visited(number, len(examples), seed)] for number in numbers],
            group_size=group_size,
            sampling=sampling,
            seed_keys=[f"{seed}/rollout/rl/{step}/{prompt}" for prompt in range(prompts_per_step)],
        )

        # 2. Score them. No critic, no learned reward: a function of the answer's text and the example.
        groups = [score_group(REWARD, group) for group in sampled]
        rewards = torch.tensor([[score.value for score in group.scores or ()] for group in groups])  # [prompts, G]

        # 3. Advantages: how much better than its siblings an answer is, in standard deviations of its group.
        exact = rewards.double()  # so that all-equal rewards do not differ from their mean by rounding
        centred = exact - exact.mean(dim=1, keepdim=True)
        advantages = (centred / (exact.std(dim=1, keepdim=True) + STD_EPS)).float()

        # 4. What the policy that sampled them thought of each token, before it changes.
        with torch.no_grad():
            before = [token_logprobs(policy, group)[0] for group in groups]

        # 5. Update: raise the probability of the tokens of better answers, lower that of worse ones, but only while
        #    it is near to what it was. Every token of the step weighs the same.
        tokens = sum(len(completion.token_ids) for group in groups for completion in group.completions)
        losses = []
        for _ in range(epochs):
            loss = 0.0
            for group, advantage, old in zip(groups, advantages, before, strict=True):
                logprobs, mask = token_logprobs(policy, group)
                ratio = ((logprobs - old) * mask).exp()
                plain = ratio * advantage[:, None]
                clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * advantage[:, None]
                share = -(torch.minimum(plain, clipped) * mask).sum() / tokens
                share.backward()  # type: ignore[no-untyped-call]  # gradients add up over the groups
                loss += share.item()
            torch.nn.utils.clip_grad_norm_(parameters, max_norm=1.0)
            optimizer.step()
            warmup.step()
            optimizer.zero_grad()
            losses.append(loss)
        history.append({"loss": sum(losses) / epochs, "reward": float(rewards.mean())})
        print(f"step {step + 1:3d}  reward {history[-1]['reward']:.3f}  loss {history[-1]['loss']:+.4f}")
    return history


def token_logprobs(policy: Policy, group: Group) -> tuple[Tensor, Tensor]:
    """The log-probability of each token that the policy wrote, `[G, T]`, and which of them exist.

    The prompt stands before every answer, so that all rows are aligned; what is short is padded at its end.
    """
    prompt = policy.encode(group.example)
    rows, start = len(group.completions), len(prompt.ids)
    width = max(len(completion.token_ids) for completion in group.completions)
    answers, mask = torch.full((rows, width), policy.pad_id), torch.zeros(rows, width)
    for row, completion in enumerate(group.completions):
        answers[row, : len(completion.token_ids)] = torch.tensor(completion.token_ids)
        mask[row, : len(completion.token_ids)] = 1.0

    # Positions have three axes in Qwen-VL (time, height, width); an answer goes on behind the prompt's largest.
    behind = int(prompt.position_ids.max()) + 1 + torch.arange(width)
    positions = torch.cat([prompt.position_ids, behind.expand(len(prompt.position_ids), -1)], dim=1)
    is_image = torch.cat([prompt.image_tokens, torch.zeros(width, dtype=torch.bool)])
    assert prompt.pixel_values is not None
    assert prompt.image_grid_thw is not None
    logits = policy.model(
        input_ids=torch.cat([prompt.ids.expand(rows, -1), answers], dim=1),
        attention_mask=torch.cat([torch.ones(rows, start), mask], dim=1).long(),
        position_ids=positions[:, None].expand(-1, rows, -1),
        mm_token_type_ids=is_image.int().expand(rows, -1),
        pixel_values=prompt.pixel_values.repeat(rows, 1),
        image_grid_thw=prompt.image_grid_thw.repeat(rows, 1),
        use_cache=False,
    ).logits[:, start - 1 : -1]  # the logits at a position are of the token behind it

    # Tokens that may never be sampled, such as the image's own, have no probability here either.
    logprobs = logits.float().masked_fill(~policy.allowed, -torch.inf).log_softmax(dim=-1)  # [G, T, V]
    return logprobs.gather(-1, answers[:, :, None])[:, :, 0].where(mask.bool(), 0.0), mask


def visited(number: int, length: int, seed: int) -> int:
    """The index of the example that is the stage's prompt of this number: each epoch is a permutation of the data."""
    epoch, at = divmod(number, length)
    return int(np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(length)[at])


def mean_reward(policy: Policy, examples: NucleiCrops, count: int = 48) -> float:
    """The reward of the greedy answers to the first examples."""
    shown = [examples[index] for index in range(count)]
    greedy = Sampling(temperature=0.0, max_new_tokens=96)
    groups = LocalEngine(policy).generate(shown, group_size=1, sampling=greedy, seed_keys=[""] * count)
    values = [score.value for group in groups for score in score_group(REWARD, group).scores or ()]
    return float(np.mean([value for value in values if value is not None]))


if __name__ == "__main__":
    policy = Policy.load(BASE)
    start = mean_reward(policy, NucleiCrops("test"))
    grpo(policy, NucleiCrops("train"), steps=25)
    print(f"reward on test crops, greedy: {start:.3f} before, {mean_reward(policy, NucleiCrops('test')):.3f} after")
