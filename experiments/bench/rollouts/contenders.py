"""Who does the work: this project, the same with a prompt for every row, and TRL's own methods."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from groundrl.experiments.bench.rollouts.cases import Case, ReadyPolicy
from groundrl.rewards import Completion, Example
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.forward.planner import Planner
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling

Completions = Sequence[Sequence[Completion]]  # of each group


class Ours:
    """Prompts and images once a group. `update` leaves the gradient of the summed log-probs in the weights."""

    def __init__(self, case: Case, policy: ReadyPolicy, examples: Sequence[Example]) -> None:
        self.case = case
        self.policy = policy
        self.examples = examples
        self.engine = LocalEngine(policy)
        self.logprobs = CompletionLogprobs(policy, temperature=1.0)
        self.planner = Planner(self.logprobs, update="auto", tokens=16_384)

    def generate(self) -> None:
        """With the engine."""
        sampling = Sampling(max_new_tokens=self.case.completion)
        keys = [example.id for example in self.examples]
        list(self.engine.generate(self.examples, group_size=self.case.group, sampling=sampling, seed_keys=keys))

    def update(self, completions: Completions) -> None:
        """With the planner, its self-check behind it."""
        prompts = [self.policy.encode(example) for example in self.examples]
        self.planner.settle(prompts, completions, lambda vector: vector[None])
        for _, batch in self.planner.batches(prompts, completions):
            logprobs, _ = self.logprobs(batch)
            logprobs.sum().backward()


class Padded(Ours):
    """The same code, with every completion as a group of its own: prompt and image once a completion."""

    def __init__(self, case: Case, policy: ReadyPolicy, examples: Sequence[Example]) -> None:
        super().__init__(case, policy, examples)
        self.planner = Planner(self.logprobs, update="padded", tokens=10**9)
        self.rows = [replace(example, id=f"{example.id}/{k}") for example in examples for k in range(case.group)]
        for row in self.rows:  # a copy of a prompt is another prompt, with images of its own
            policy.prompts[row.id] = copy.copy(policy.prompts[row.id.split("/")[0]])

    def generate(self) -> None:
        """Each row reads its own prompt."""
        sampling = Sampling(max_new_tokens=self.case.completion)
        keys = [row.id for row in self.rows]
        list(self.engine.generate(self.rows, group_size=1, sampling=sampling, seed_keys=keys))

    def update(self, completions: Completions) -> None:
        """As many rows at a time as fit."""
        prompts = [self.policy.encode(row) for row in self.rows]
        ones = [[one] for group in completions for one in group]
        for start in range(0, len(ones), self.case.rows):
            part = slice(start, start + self.case.rows)
            for _, batch in self.planner.batches(prompts[part], ones[part]):
                logprobs, _ = self.logprobs(batch)
                logprobs.sum().backward()


class Trl:
    """`GRPOTrainer._generate_single_turn` and `_get_per_token_logps_and_entropies` of TRL as installed.

    `compact`: its head scores completion positions alone, as it does on CUDA; on the CPU it scores prompts too.
    """

    def __init__(self, case: Case, policy: ReadyPolicy, examples: Sequence[Example], *, compact: bool = False) -> None:
        self.case = case
        self.prompts = [policy.encode(example) for example in examples for _ in range(case.group)]
        self.compact = compact
        self.pad_id = policy.pad_id
        self.trainer = _trainer(case, policy)

    def generate(self) -> None:
        """As its `_generate` calls it: ids of each row, images repeated."""
        fields: dict[str, Any] = {}
        if self.prompts[0].pixel_values is not None:
            fields |= self._images(self.prompts)
            fields["mm_token_type_ids"] = [prompt.image_tokens.int().tolist() for prompt in self.prompts]
        ids = [prompt.ids.tolist() for prompt in self.prompts]
        self.trainer.model.eval()
        with self.trainer.accelerator.autocast():  # as in training, where accelerate has wrapped the forward in it
            self.trainer._generate_single_turn(ids, None, fields, self.case.group)

    def update(self, completions: Completions) -> None:
        """On ready tensors, prompts padded on the left and completions on the right, as TRL makes them."""
        utils: Any = import_module("trl.trainer.utils")  # TRL does not export what is replaced here
        rows = [one for group in completions for one in group]
        before = utils._use_triton
        utils._use_triton = (lambda device: True) if self.compact else before
        try:
            for start in range(0, len(rows), self.case.rows):
                stop = start + self.case.rows
                self._backward(self.prompts[start:stop], rows[start:stop])
        finally:
            utils._use_triton = before

    def _backward(self, prompts: Sequence[Any], rows: Sequence[Completion]) -> None:
        pad: Any = import_module("trl.trainer.utils").pad
        left, right = {"padding_side": "left"}, {"padding_side": "right"}
        prompt_ids = pad([prompt.ids for prompt in prompts], padding_value=self.pad_id, **left)
        prompt_mask = pad([torch.ones_like(prompt.ids) for prompt in prompts], padding_value=0, **left)
        answers = [torch.tensor(row.token_ids) for row in rows]
        completion_ids = pad(answers, padding_value=self.pad_id, **right)
        completion_mask = pad([torch.ones_like(row) for row in answers], padding_value=0, **right)
        images: dict[str, Any] = {}
        if prompts[0].pixel_values is not None:
            tokens = pad([prompt.image_tokens.int() for prompt in prompts], padding_value=0, **left)
            images = self._images(prompts) | {"num_images": [prompt.num_images for prompt in prompts]}
            images["mm_token_type_ids"] = torch.cat([tokens, torch.zeros_like(completion_ids).int()], dim=1)
        self.trainer.model.train()
        ids, mask = torch.cat([prompt_ids, completion_ids], dim=1), torch.cat([prompt_mask, completion_mask], dim=1)
        logps, _, _ = self.trainer._get_per_token_logps_and_entropies(
            self.trainer.model,
            ids.to(self.case.device),
            mask.to(self.case.device),
            completion_ids.shape[1],
            compute_entropy=True,
            **images,
        )
        (logps * completion_mask.to(self.case.device)).sum().backward()

    def _images(self, prompts: Sequence[Any]) -> dict[str, Tensor]:
        return {
            "pixel_values": torch.cat([prompt.pixel_values for prompt in prompts]),
            "image_grid_thw": torch.cat([prompt.image_grid_thw for prompt in prompts]),
        }


Contender = Ours | Trl


def _trainer(case: Case, policy: ReadyPolicy) -> Any:
    """A real GRPOTrainer over the policy's model; its generations go on to the full length."""
    trl: Any = import_module("trl")
    data: Any = import_module("datasets")
    rows = max(2, case.group)
    settings = trl.GRPOConfig(
        output_dir=mkdtemp(),
        use_cpu=case.device == "cpu",
        bf16=policy.autocast_enabled,
        per_device_train_batch_size=rows,
        num_generations=rows,
        max_completion_length=case.completion,
        generation_kwargs={"min_new_tokens": case.completion},
        gradient_checkpointing=False,
        report_to=[],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trl.GRPOTrainer(
            model=policy.model,
            reward_funcs=lambda completions, **columns: [0.0] * len(completions),
            args=settings,
            train_dataset=data.Dataset.from_list([{"prompt": "a"}] * rows),
            processing_class=policy.tokenizer,
        )
