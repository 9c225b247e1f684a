"""What is measured: shapes of models, prompts, groups and completions."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from groundrl.experiments.bench.tiny_model import build_tiny_qwen3_vl, build_tokenizer
from groundrl.rewards import Completion, Example, ImageRef
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt

Shape = Literal["tiny", "135m", "qwen3_vl"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """`groups` prompts of `prompt` tokens (with an image: as many as it makes) with `group` completions each.

    `shortest`: completions have from so many tokens on, evenly; then only the update is measured, for TRL has no way
    to end its rows at given lengths. `rows`: at most so many of a padded batch at once, or it would not fit.
    `precisions`: those that are tried, of which each contender's best counts. `device`: where it is measured.
    """

    shape: Shape
    prompt: int
    completion: int
    group: int
    groups: int = 1
    shortest: int | None = None
    rows: int = 64
    repeats: int = 5
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def lengths(self) -> list[int]:
        """Tokens of each completion of a group."""
        if self.shortest is None:
            return [self.completion] * self.group
        return [round(n) for n in np.linspace(self.shortest, self.completion, self.group)]

    def bound(self, prompt: int) -> float:
        """Tokens that are computed when each completion has its own prompt, over those when a group shares it."""
        total = sum(self.lengths)
        return (self.group * prompt + total) / (prompt + total)


CASES = {
    "tiny text, prompt 256": Case(shape="tiny", prompt=256, completion=32, group=8),
    "tiny text, prompt 512": Case(shape="tiny", prompt=512, completion=32, group=8),
    "135M, prompt 512 x 8": Case(shape="135m", prompt=512, completion=32, group=8),
    "135M, prompt 1024 x 16": Case(
        shape="135m", prompt=1024, completion=32, group=16, rows=4, repeats=3, precisions=("bfloat16",)
    ),
    "tiny Qwen3-VL, 256 x 256 pixels": Case(shape="qwen3_vl", prompt=0, completion=32, group=8),
    "tiny text, prompt 20, completion 160": Case(shape="tiny", prompt=20, completion=160, group=8),
    "tiny text, prompt 20, completion 320": Case(shape="tiny", prompt=20, completion=320, group=8),
    "tiny text, completions 4 to 64": Case(shape="tiny", prompt=256, completion=64, group=8, shortest=4),
    "CUDA, 135M, prompt 512 x 8": Case(
        shape="135m",
        prompt=512,
        completion=128,
        group=8,
        groups=8,
        rows=16,
        repeats=3,
        precisions=("bfloat16",),
        device="cuda",
    ),
}


def all_cases() -> list[str]:
    """Those of this machine: on a CUDA device, or on the processor, where curves are drawn too."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = [name for name, case in CASES.items() if case.device == device]
    return names if device == "cuda" else [*names, "plots"]


class ReadyPolicy(Policy):
    """A policy whose prompts are ready: random tokens, or an image and a question."""

    prompts: dict[str, Prompt]

    def encode(self, example: Example, *, reserve: int = 0) -> Prompt:
        """The prompt made for this example's id."""
        return self.prompts[example.id]


def build(case: Case, dtype: Precision) -> tuple[ReadyPolicy, list[Example]]:
    """The policy with random weights, always the same, which never ends an answer by itself; and its examples."""
    torch.manual_seed(0)
    if case.shape == "qwen3_vl":
        with TemporaryDirectory() as folder:
            build_tiny_qwen3_vl(Path(folder) / "model")
            policy = ReadyPolicy.load(Path(folder) / "model", dtype=dtype)
            assert isinstance(policy, ReadyPolicy)
        examples = [_image_example(k) for k in range(case.groups)]
        policy.prompts = {example.id: Policy.encode(policy, example) for example in examples}
    else:
        policy = ReadyPolicy(_llama(case.shape), build_tokenizer(), None, autocast=dtype == "bfloat16")
        policy.allowed[:] = True
        examples = [Example(id=str(k), prompt="") for k in range(case.groups)]
        policy.prompts = {example.id: _random_prompt(case.prompt) for example in examples}
    policy.allowed[list(policy.end_ids)] = False
    policy.model.to(case.device)
    return policy, examples


def random_completions(case: Case) -> list[list[Completion]]:
    """Of each group, with ids that every vocabulary here has."""
    torch.manual_seed(1)
    return [[completion(torch.randint(10, 400, (n,)).tolist()) for n in case.lengths] for _ in range(case.groups)]


def completion(ids: list[int]) -> Completion:
    """Of these tokens."""
    return Completion(text="", token_ids=tuple(ids), sampled=(True,) * len(ids), logprobs=(0.0,) * len(ids))


def _random_prompt(length: int) -> Prompt:
    ids: Int[Tensor, "P"] = torch.randint(10, 400, (length,))
    return Prompt(ids=ids, position_ids=torch.arange(length)[None], image_tokens=torch.zeros(length, dtype=torch.bool))


def _image_example(number: int) -> Example:
    from PIL import Image

    pixels = np.random.default_rng(number).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    image = ImageRef(source=buffer.getvalue(), width=256, height=256)
    return Example(id=str(number), prompt="How many nuclei are in the image?", images=(image,))


def _llama(shape: Shape) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    make: Callable[..., Any] = LlamaConfig
    tokenizer = build_tokenizer()
    common = {
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = {
        "tiny": lambda: make(
            vocab_size=8192,
            hidden_size=256,
            intermediate_size=1024,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            **common,
        ),
        "135m": lambda: make(
            vocab_size=49_152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            **common,
        ),
    }[shape]()
    return LlamaForCausalLM(config)
