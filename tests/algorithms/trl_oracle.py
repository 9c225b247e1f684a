"""TRL's own code as installed, run on given numbers: only what it reads from the trainer is faked."""

import ast
import inspect
import textwrap
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

# What our objectives are called there; the rest of their settings have the same meaning.
LOSS_TYPES = {"dapo": "dapo", "grpo": "grpo", "dr_grpo": "dr_grpo", "gspo": "grpo", "cispo": "cispo", "ppo": "bnpo"}


def run_statements(function: Any, first: str, last: str, names: dict[str, Any]) -> dict[str, Any]:
    """The variables after the statements of a function from the one that begins with `first` to that with `last`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    for node in ast.walk(tree):
        texts = [ast.unparse(statement) for statement in getattr(node, "body", None) or []]
        starts = [k for k, text in enumerate(texts) if text.startswith(first)]
        ends = [k for k, text in enumerate(texts) if text.startswith(last)]
        if starts and ends:
            module = ast.Module(body=node.body[starts[0] : ends[0] + 1], type_ignores=[])
            variables = {**inspect.unwrap(function).__globals__, **names}
            exec(compile(module, "trl", "exec"), variables)
            return variables
    raise AssertionError(f"TRL's {function.__name__} has no statements from {first!r} to {last!r} any more")


def grpo_advantages(
    parts: torch.Tensor, weights: torch.Tensor, group_size: int, *, scale: str, aggregation: str
) -> Any:
    """GRPOTrainer's advantages `[N]` of rewards `parts [N, K]`."""
    trainer = SimpleNamespace(
        multi_objective_aggregation=aggregation,
        scale_rewards=scale,
        reward_weights=weights,
        reward_funcs=[None] * len(weights),
    )
    names = {"self": trainer, "rewards_per_func": parts, "num_generations": group_size, "device": "cpu"}
    return run_statements(
        GRPOTrainer._generate_and_score_completions, "unscorable_mask", "advantages = torch.nan_to_num", names
    )["advantages"]


def rloo_advantages(rewards: torch.Tensor, group_size: int, *, beta: float, old: Any, ref: Any, mask: Any) -> Any:
    """RLOOTrainer's advantages `[N]`, not normalised."""
    trainer = SimpleNamespace(
        reward_weights=torch.ones(1), reward_clip_range=None, beta=beta, normalize_advantages=False
    )
    names = {
        "self": trainer,
        "rewards_per_func": rewards[:, None],
        "num_generations": group_size,
        "device": "cpu",
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
        "completion_mask": mask,
        "gather": lambda values: values,
    }
    return run_statements(
        RLOOTrainer._generate_and_score_completions, "unscorable_mask", "advantages = torch.nan_to_num", names
    )["advantages"]


def sampling_ratio(old: torch.Tensor, sampler: torch.Tensor, mask: torch.Tensor, *, mode: str, cap: float) -> Any:
    """GRPOTrainer's weights of tokens that vLLM sampled."""
    trainer = SimpleNamespace(
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_max=cap,
        vllm_importance_sampling_clip_min=None,
    )
    names = {
        "self": trainer,
        "old_per_token_logps": old,
        "sampling_per_token_logps": sampler,
        "completion_mask": mask,
        "tool_mask": None,
    }
    block = "if self.use_vllm and self.vllm_importance_sampling_correction:\n    mask"
    return run_statements(GRPOTrainer._generate_and_score_completions, block, block, names)[
        "vllm_importance_sampling_ratio"
    ]


def loss(name: str, logprobs: Any, batch: Any, settings: Any, *, entropy: Any = None) -> Any:
    """`GRPOTrainer._compute_loss` of our objective `name`; without bounds in the settings it knows no default."""
    mask = batch.completion_mask_NT
    entropy = torch.zeros_like(mask) if entropy is None else entropy
    corrected = settings.importance_correction != "none"
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, entropy, None),
        loss_type=LOSS_TYPES[name],
        epsilon_low=settings.clip_low,
        epsilon_high=settings.clip_high,
        beta=settings.kl_coef,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=settings.dual_clip, steps_per_generation=1),
        accelerator=SimpleNamespace(
            num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x, sync_gradients=False
        ),
        importance_sampling_level="sequence" if name == "gspo" else "token",
        current_gradient_accumulation_steps=1,
        model=SimpleNamespace(training=True),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=corrected,
        vllm_importance_sampling_correction=corrected,
        max_completion_length=batch.max_length,
        _entropy_bonus_enabled=settings.entropy_coef > 0,
        use_adaptive_entropy=False,
        entropy_coef=settings.entropy_coef,
        _metrics=defaultdict(lambda: defaultdict(list)),
    )
    inputs = {
        "prompt_ids": torch.zeros(len(mask), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(mask), 1),
        "completion_ids": torch.zeros(mask.shape, dtype=torch.long),
        "completion_mask": mask,
        "advantages": batch.advantages_NT,
        "num_items_in_batch": mask.sum(),
    }
    if batch.old_logprobs_NT is not None:
        inputs["old_per_token_logps"] = batch.old_logprobs_NT
    if batch.ref_logprobs_NT is not None:
        inputs["ref_per_token_logps"] = batch.ref_logprobs_NT
    if corrected:
        inputs["importance_sampling_ratio"] = sampling_ratio(
            batch.old_logprobs_NT if batch.old_logprobs_NT is not None else logprobs.detach(),
            batch.sampler_logprobs_NT,
            mask,
            mode=settings.importance_correction,
            cap=settings.importance_cap,
        )
    return GRPOTrainer._compute_loss(trainer, None, inputs)
