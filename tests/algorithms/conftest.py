"""Windows and batches written by hand, and one short RL run."""

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric import Fabric

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.loop import RLStep, train_rl
from groundrl.algorithms.schema import ObjectiveSettings
from groundrl.algorithms.settings import RLSettings
from groundrl.algorithms.window import Window
from groundrl.rollout.forward.batches import PaddedBatch
from groundrl.rollout.forward.images import Images
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling

TIMING = ("seconds/", "tokens_per_second")
MAX_LENGTH = 11  # tokens that a completion of `learn_batch` might have had


@pytest.fixture(scope="session")
def make_window() -> Callable[..., Window]:
    """`make_window([[1.0, None], ...], lengths=[...])`: groups of these rewards, None where there is no score.

    `more` are further fields of the window; without `parts` the reward is its own only part.
    """

    def make(
        rewards: Sequence[Sequence[float | None]], *, lengths: Sequence[int] | None = None, **more: object
    ) -> Window:
        rewards_PG = torch.tensor([[torch.nan if value is None else value for value in row] for row in rewards])
        more = {"parts": {"total": rewards_PG}, "weights": {"total": 1.0}} | more
        valid = ~rewards_PG.isnan()
        lengths = lengths or [1] * rewards_PG.numel()
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float() * valid.flatten()[:, None]
        return Window(
            groups=(),
            prompts=(),
            rewards_PG=rewards_PG,
            valid_PG=valid,
            completion_mask_NT=mask,
            sampler_logprobs_NT=torch.zeros_like(mask),
            **more,
        )

    return make


@pytest.fixture(scope="session")
def trl() -> SimpleNamespace:
    """What `trl_oracle.py` defines."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("trl_oracle.py"))))


@pytest.fixture(scope="session")
def learn_batch() -> Callable[..., LearnBatch]:
    """A batch with what an objective looks at; totals are its own unless given."""

    def make(
        advantages, mask, *, old=None, ref=None, sampler=None, total_tokens=None, total_completions=None
    ) -> LearnBatch:
        nothing = torch.zeros(mask.shape, dtype=torch.long)
        padded = PaddedBatch(
            input_ids=nothing,
            attention_mask=nothing,
            position_ids=nothing[None],
            image_tokens=nothing.bool(),
            images=Images(pixel_values=None, image_grid_thw=None, index=[], keys=[]),
            completion_ids=nothing,
            completion_mask=mask,
        )
        return LearnBatch(
            inputs=padded,
            advantages_NT=advantages,
            completion_mask_NT=mask,
            sampler_logprobs_NT=torch.zeros_like(mask) if sampler is None else sampler,
            old_logprobs_NT=old,
            ref_logprobs_NT=ref,
            total_tokens=float(mask.sum() if total_tokens is None else total_tokens),
            total_completions=float(mask.any(dim=1).sum() if total_completions is None else total_completions),
            max_length=MAX_LENGTH,
        )

    return make


@pytest.fixture
def rl_run(tmp_path: Path, even_ids) -> Callable[..., list[RLStep]]:
    """`rl_run(policy, examples, steps=..., ...)`: train in place on one process; what was recorded."""

    def run(policy, examples, *, reward=even_ids, record=None, folder=tmp_path / "rl", engine=None, **settings):
        recorded: list[RLStep] = []
        defaults = {
            "name": "rl",
            "prompts_per_step": 2,
            "group_size": 4,
            "micro_batch_tokens": 100,
            "lr": 1e-3,
            "sampling": Sampling(max_new_tokens=6),
        }
        train_rl(
            policy,
            engine or LocalEngine(policy),
            Loader(policy, examples, reserve=6),
            reward,
            RLSettings(**defaults | settings),
            fabric=Fabric(accelerator="cpu", devices=1),
            record=record or recorded.append,
            folder=folder,
        )
        return recorded

    return run


@pytest.fixture(scope="session")
def untimed() -> Callable[[RLStep], dict[str, float]]:
    """The metrics of a step without those that depend on the clock."""
    return lambda step: {name: value for name, value in step.metrics.items() if not name.startswith(TIMING)}


@pytest.fixture(scope="session")
def all_terms() -> ObjectiveSettings:
    """Every term of a loss at once."""
    return ObjectiveSettings(
        clip_low=0.2,
        clip_high=0.28,
        dual_clip=1.5,
        kl_coef=0.1,
        importance_correction="token_truncate",
        importance_cap=1.2,
    )
