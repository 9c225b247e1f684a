"""One training run as one of several processes: `python ranks.py MODEL OUT WORLD_SIZE`; see test_ranks.py.

AdamW runs with eps = 1e-3 here. With 1e-8 its first steps are the sign of each gradient, so that where a gradient is 0
but for rounding, the two runs would move a weight by lr in opposite directions; with an eps above the rounding the
weights can be compared to 1e-6 as well. The gradients are compared as they are.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from lightning.fabric import Fabric

from groundrl.algorithms.learner import Learner
from groundrl.algorithms.loop import RLStep, train_rl
from groundrl.algorithms.schema import ObjectiveSettings
from groundrl.algorithms.settings import RLSettings, SFTSettings
from groundrl.algorithms.sft import train_sft
from groundrl.rewards import Completion, Example, ImageRef, Reward, reward
from groundrl.rollout.io.order import ShuffledOrder
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling


def examples() -> list[Example]:
    """Four prompts, one of them without an image: its rank leaves the vision tower without gradients."""
    from io import BytesIO

    from PIL import Image

    made = []
    for k in range(4):
        buffer = BytesIO()
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(buffer, "png")
        images = (ImageRef(source=buffer.getvalue(), width=48, height=32),) if k else ()
        made.append(Example(id=f"e{k}", prompt="How many nuclei?" * (k + 1), images=images, answer="1" * (k + 1)))
    return made


# In step 0 of four prompts, rank 1 of two has those at the odd places.
SECOND_RANK = {f"e{ShuffledOrder(4, seed=0)[index]}" for index in (1, 3)}


@reward
def parity(completion: Completion, example: Example) -> float:
    return sum(token % 2 for token in completion.token_ids) / len(completion.token_ids)


@reward
def flat_on_the_second_rank(completion: Completion, example: Example) -> float:
    return 0.5 if example.id in SECOND_RANK else parity.score(completion, example).value or 0.0


@reward
def second_token(completion: Completion, example: Example) -> float | None:
    return completion.token_ids[1] % 5 / 5 if len(completion.token_ids) > 1 else None


def rl(
    model: Path, fabric: Fabric, what: Reward, folder: Path, *, objective: str, steps: int, **more: Any
) -> dict[str, Any]:
    """Gradients of every update, weights at the end, and what was recorded here."""
    gradients: list[dict[str, torch.Tensor]] = []
    recorded: list[RLStep] = []

    class Watched(Learner):
        def update(self) -> None:
            named = self.policy.model.named_parameters()
            gradients.append({n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in named})
            super().update()

    policy = Policy.load(model)
    settings = RLSettings(
        name="rl",
        steps=steps,
        objective=objective,
        prompts_per_step=4,
        group_size=3,
        micro_batch_tokens=60,
        epochs=2,
        lr=1e-3,
        warmup_steps=0,
        sampling=Sampling(max_new_tokens=6),
        clipping=ObjectiveSettings(kl_coef=0.05),
        checkpoint_every=steps,
        **more,
    )
    with patch("groundrl.algorithms.loop.Learner", Watched):
        loader = Loader(policy, examples(), reserve=6)
        train_rl(
            policy, LocalEngine(policy), loader, what, settings, fabric=fabric, record=recorded.append, folder=folder
        )
    return {
        "gradients": gradients,
        "weights": dict(policy.model.state_dict()),
        "steps": [
            {
                "metrics": {k: v for k, v in step.metrics.items() if "second" not in k},
                "ids": [group.example.id for group in step.groups],
                "index": [group.index for group in step.groups],
                "keys": [group.seed_key for group in step.groups],
                "tokens": [list(c.token_ids) for group in step.groups for c in group.completions],
                "advantages": [list(values) for values in step.advantages],
            }
            for step in recorded
        ],
    }


def sft(model: Path, hardware: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Weights after three steps, and what was recorded here."""
    policy = Policy.load(model)
    rows: list[dict[str, float]] = []
    loader = Loader(policy, examples(), answers=True)
    settings = SFTSettings(steps=3, batch_size=4, lr=1e-3, max_grad_norm=1e6)  # a clipped gradient hides its scale
    train_sft(policy, loader, settings, record=lambda row: rows.append(dict(row)), folder=folder, hardware=hardware)
    return {"weights": dict(policy.model.state_dict()), "losses": [row["loss"] for row in rows]}


def train_all(model: Path, out: Path, world_size: int) -> dict[str, Any]:
    """Every scenario in this process."""
    strategy = "ddp_find_unused_parameters_true" if world_size > 1 else "auto"
    hardware = {"accelerator": "cpu", "devices": world_size, "strategy": strategy}
    fabric = Fabric(**hardware)
    fabric.launch()
    with patch("torch.optim.AdamW", partial(torch.optim.AdamW, eps=1e-3)):
        return {
            "dapo": rl(model, fabric, parity, out / "dapo", objective="dapo", steps=2),
            "grpo": rl(model, fabric, parity, out / "grpo", objective="grpo", steps=1),
            "flat": rl(model, fabric, flat_on_the_second_rank, out / "flat", objective="dapo", steps=1),
            "family": rl(
                model,
                fabric,
                flat_on_the_second_rank + 0.5 * second_token,
                out / "family",
                objective="dr_grpo",
                steps=1,
                advantage="gdpo",
            ),
            "dynamic": rl(
                model,
                fabric,
                flat_on_the_second_rank,
                out / "dynamic",
                objective="cispo",
                steps=2,
                dynamic_sampling=3,
            ),
            "sft": sft(model, hardware, out / "sft"),
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.save(
        train_all(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])),
        Path(sys.argv[2]) / f"rank-{os.environ['LOCAL_RANK']}.pt",
    )
