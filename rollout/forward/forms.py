"""Three equal forms of an update, and which of them may be trusted with a model.

Right before fast: a form is used only where the architecture is known to allow it and where, on the longest prompt of
the first window, its log-probs and gradients are those of the padded form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from groundrl.rewards import Completion
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.cache import attention_obstacle
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.forward.prefix_cache import prefix_batch
from groundrl.rollout.forward.shared_prompt import pack_batch
from groundrl.rollout.model.head import bare
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt
from groundrl.rollout.settings import Update

SHARED: dict[Update, tuple[str, ...]] = {
    "auto": ("packed", "prefix", "prefix_joined"),
    "padded": (),
    "packed": ("packed",),
    "prefix": ("prefix", "prefix_joined"),
}
BUILD: Mapping[str, Callable[..., Batch]] = {
    "padded": pad_batch,
    "packed": pack_batch,
    "prefix": prefix_batch,
    "prefix_joined": partial(prefix_batch, per_row=2**30),
}
LOGPROB_GAP, GRADIENT_GAP = 1e-3, 1e-2  # largest difference of a log-prob; of the gradients, relative to their norm
BFLOAT16_GAP = 0.2  # of both, where the layers compute in bfloat16


def update_obstacle(logprobs: CompletionLogprobs, form: str) -> str | None:
    """Why this architecture is not known to allow a form, or None."""
    policy = logprobs.policy
    if (reason := attention_obstacle(policy)) is not None:
        return reason
    config = bare(policy.model).config
    text = config.get_text_config(decoder=True)
    if getattr(text, "use_bidirectional_attention", False) or not getattr(text, "is_causal", True):
        return "its tokens attend to what follows them"
    if hasattr(config, "vision_config") and not policy.has_mrope:
        return "the tokens of an image may attend to each other both ways"
    if "position_ids" not in policy.forward_arguments:
        return "its forward takes no position_ids"
    if not logprobs.splits_head:
        return "its logits are not those of its head"
    if form != "packed" and getattr(policy.model, "is_activation_checkpointing", False):
        return "gradient checkpointing drops the cache"
    return None


def build(form: str, policy: Policy, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Batch:
    """A prompt for each completion; those of one prompt are the same object and stand together."""
    ids = [completion.token_ids for completion in completions]
    return BUILD[form](policy, prompts, ids, sampled=[completion.sampled for completion in completions])


def update_faults(
    logprobs: CompletionLogprobs, forms: Sequence[str], prompt: Prompt, completions: Sequence[Completion]
) -> dict[str, str | None]:
    """What each form gets wrong on these completions of a prompt, or None where it agrees with the padded form."""
    expected = _values(logprobs, "padded", prompt, completions)
    faults: dict[str, str | None] = {}
    for form in forms:
        try:
            found = _values(logprobs, form, prompt, completions)
        except torch.OutOfMemoryError:  # no fault of the form; without it every update would need more
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            faults[form] = f"{form} stops with {type(error).__name__}: {error}"
        else:
            faults[form] = _difference(form, found, expected, bfloat16=logprobs.policy.autocast_enabled)
    return faults


def _values(
    logprobs: CompletionLogprobs, form: str, prompt: Prompt, completions: Sequence[Completion]
) -> tuple[Tensor, Tensor]:
    """Log-probs, and their gradient at the first weights of the language model that learn.

    At two of them: of a fresh adapter's pair the first has none, as it is multiplied by the zeros of the second.
    """
    batch = build(form, logprobs.policy, [prompt] * len(completions), completions)
    weights = [p for name, p in logprobs.model.named_parameters() if p.requires_grad and "visual" not in name]
    with torch.set_grad_enabled(bool(weights)):
        values, _ = logprobs(batch)
        if not values.requires_grad:
            return values, values
        gradients = torch.autograd.grad(values.sum(), weights[:2], materialize_grads=True)
    return values.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def _difference(
    form: str, found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], *, bfloat16: bool
) -> str | None:
    gap = float((found[0] - expected[0]).abs().max())
    if not gap <= (BFLOAT16_GAP if bfloat16 else LOGPROB_GAP):
        return f"{form} gives log-probs that differ by {gap:.2g}"
    gap = float((found[1] - expected[1]).norm() / expected[1].norm().clamp(min=1e-12))
    if not gap <= (BFLOAT16_GAP if bfloat16 else GRADIENT_GAP):
        return f"{form} gives gradients that differ by {gap:.2g} of their norm"
    return None
