"""Before the first RL step: is there anything to learn from, does sampler equal trainer, and does it fit in memory?"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from groundrl.algorithms.generators import untouched_generators
from groundrl.algorithms.health import FLAT_SHARE, SAMPLER_GAP
from groundrl.algorithms.metrics import valid_values
from groundrl.algorithms.settings import RLSettings
from groundrl.rewards import Group, Reward, Scorer
from groundrl.rewards.core.reward import parts_of
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.forward.planner import Planner
from groundrl.rollout.io.order import visiting_order
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.engine import Engine, seed_key

GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was found. `informative`: groups whose scores differ; None where a score costs money and none was asked for.

    `memory`: bytes by what takes them, an estimate; `available`: bytes of the device, None where it does not say.
    """

    groups: int
    informative: int | None
    sampler_gap: float
    memory: Mapping[str, int]
    available: int | None
    seconds: float

    @property
    def text(self) -> str:
        """A short block for a person, with what to try where something is amiss."""
        parts = ", ".join(f"{name} {size / 2**30:.2g}" for name, size in self.memory.items())
        total = sum(self.memory.values())
        have = "" if self.available is None else f" of {self.available / 2**30:.3g}"
        lines = [f"preflight ({self.seconds:.1f} s)"]
        if self.informative is None:
            lines.append("  informative groups: not asked, a score costs money")
        else:
            lines.append(f"  informative groups: {self.informative} of {self.groups}")
            if self.groups - self.informative > FLAT_SHARE * self.groups:
                lines[-1] += (
                    "; the others teach nothing: try prompts of another difficulty, an SFT stage before, "
                    "a larger group_size, or a reward with more steps"
                )
        lines.append(f"  sampler against trainer: log-probs differ by at most {self.sampler_gap:.1e}")
        if not self.sampler_gap <= SAMPLER_GAP:
            lines[-1] += "; try importance_correction, dtype float32, or update: padded (top_p and the like differ too)"
        lines.append(f"  memory, estimated: {total / 2**30:.2g}{have} GiB ({parts})")
        if self.available is not None and total > self.available:
            lines[-1] += "; try a lower micro_batch_tokens, LoRA, or a smaller model"
        return "\n".join(lines)


def preflight(
    policy: Policy, engine: Engine, loader: Loader, reward: Reward, settings: RLSettings, *, groups: int = GROUPS
) -> Preflight:
    """Sample so many groups of the stage's first prompts, score them, and compare their log-probs with the trainer's.

    Keys of its own draw the noise and the shared generators come back as they were: the run is the same without it.
    """
    start = time.perf_counter()
    policy.model.eval()
    order = visiting_order(loader.source, seed=settings.seed)
    with untouched_generators():
        sampled = list(
            engine.generate(
                [loader[order[index]][0] for index in range(groups)],
                group_size=settings.group_size,
                sampling=settings.sampling,
                seed_keys=[
                    seed_key(seed=settings.seed, stream="preflight", stage=settings.name, step=0, prompt=index)
                    for index in range(groups)
                ],
            )
        )
        gap = largest_gap(policy, sampled, settings)
        informative = None
        if not any(part.costly for part in parts_of(reward)):
            scorer = Scorer(
                reward,
                on_error=settings.on_reward_error,
                max_error_share=1.0,
                workers=settings.reward_workers,
                deadline=settings.reward_deadline,
            )
            with scorer:
                scorer.set_step(0)
                for group in sampled:
                    scorer.submit(group)
                informative = sum(len(set(valid_values(group))) > 1 for group in scorer.results())
    return Preflight(
        groups=len(sampled),
        informative=informative,
        sampler_gap=gap,
        memory=memory_estimate(policy, settings),
        available=device_memory(policy.device),
        seconds=time.perf_counter() - start,
    )


@torch.no_grad()
def largest_gap(policy: Policy, groups: Sequence[Group], settings: RLSettings) -> float:
    """The largest difference of any sampled token's log-prob between the sampler and the update's forward."""
    logprobs = CompletionLogprobs(policy, temperature=settings.sampling.temperature)
    planner = Planner(logprobs, update="padded", tokens=settings.micro_batch_tokens)
    prompts = [policy.encode(group.example) for group in groups]
    completions = [completion for group in groups for completion in group.completions]
    gap = 0.0
    for rows, batch in planner.batches(prompts, [group.completions for group in groups]):
        values, _ = logprobs(batch)
        for row, ours in zip(rows, values.float().cpu(), strict=True):
            theirs = torch.tensor(completions[row].logprobs)
            gap = max(gap, float((ours[: len(theirs)] - theirs).abs().max()))
    return gap


def memory_estimate(policy: Policy, settings: RLSettings) -> dict[str, int]:
    """Bytes by what takes them on one device, without what the framework itself and its fragments take.

    Weights as they are kept; gradients and AdamW's two moments are float32. Activations of a micro-batch of s tokens,
    width h and L layers: 34 s h L bytes in 16 bit, twice that in 32 (Korthikanti et al., arXiv 2205.05198, equation 2,
    without the attention scores, which sdpa does not keep), or with gradient checkpointing those of one layer and every
    layer's input in float32; its logits in float32 with their log-softmax and gradient.
    """
    text = policy.model.config.get_text_config()
    parameters = list(policy.model.parameters())
    size = sum(p.numel() for p in parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    tokens = settings.micro_batch_tokens
    width = 2 if policy.autocast_enabled else 4
    whole = trained == size  # else the reference is the adapter switched off
    layers = text.num_hidden_layers
    kept = 17 * width + 4 * layers if policy.model.is_activation_checkpointing else 17 * width * layers
    return {
        "weights": sum(p.numel() * p.element_size() for p in parameters),
        **({"reference": width * size} if settings.clipping.kl_coef > 0 and whole else {}),
        "gradients": 4 * trained,
        "optimizer": 8 * trained,
        "activations": kept * tokens * text.hidden_size,
        "logits": 3 * 4 * tokens * text.vocab_size,
    }


def device_memory(device: torch.device) -> int | None:
    """Bytes of memory that the device has; None where it does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "cpu" and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
