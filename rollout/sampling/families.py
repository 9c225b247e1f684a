"""Other vision-language families (InternVL, LLaVA, Gemma 3, ...) for evaluation: transformers' own classes, padded.

Their processors are loaded without their video part, which needs torchvision; images go through PIL. Drawing is that of
the local engine: the same masks, the same keyed noise, the same log-probs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundrl.rewards import Completion, DataError, Example, Group, as_messages
from groundrl.rollout.io.pictures import open_image
from groundrl.rollout.model.loading import Precision, best_device, load_model
from groundrl.rollout.model.policy import allowed_tokens, end_token_ids
from groundrl.rollout.model.private import processor_class
from groundrl.rollout.model.prompts import with_images
from groundrl.rollout.sampling.drawing import cumulative_dtype, draw, processed_scores
from groundrl.rollout.sampling.engine import keyed_uniforms
from groundrl.rollout.settings import Sampling


class FamilyEngine:
    """Samples with a model and its processor, at most `max_rows` completions at a time, padded on the left."""

    def __init__(self, model: Any, processor: Any, *, autocast: bool = False, max_rows: int = 32) -> None:
        self.policy = None  # another family's hidden states are not read
        self.failures: Mapping[int, str] = {}
        self.model = model.eval()
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.autocast = autocast
        self.max_rows = max_rows
        self.end_ids = end_token_ids(model, self.tokenizer)
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token_id = self.end_ids[0]
        allowed = allowed_tokens(model.config, self.tokenizer)
        allowed[list(image_ids(model.config, processor))] = False
        self.forbidden = torch.zeros(len(allowed)).masked_fill(~allowed, -torch.inf)

    @classmethod
    def load(cls, path: str | Path, *, dtype: Precision = "float32", max_rows: int = 32) -> FamilyEngine:
        """Load a Hugging Face folder or id; ValueError, in a sentence, for a family that cannot be."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(path)
        processor = load_processor(path, config)
        model = load_model(path, config, init="pretrained", seed=0, quantization=None)
        return cls(model.to(best_device()), processor, autocast=dtype == "bfloat16", max_rows=max_rows)

    def sync(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Refused: these families are evaluated here, not trained."""
        raise ValueError("this family of models can be evaluated, not trained; trained are text and Qwen-VL models")

    def generate(
        self, examples: Sequence[Example], *, group_size: int, sampling: Sampling, seed_keys: Sequence[str]
    ) -> Iterator[Group]:
        """Yield the group of each example; those with images and those without are batches of their own."""
        if sampling.stop:
            raise ValueError("stop strings are not known for this family of models; use stop_tokens")
        texts = [self._render(example) for example in examples]
        order = sorted(range(len(examples)), key=lambda k: (not examples[k].images, len(texts[k]), k))
        per_batch = max(1, self.max_rows // group_size)
        while order:
            batch = [k for k in order[:per_batch] if bool(examples[k].images) == bool(examples[order[0]].images)]
            order = order[len(batch) :]
            found = self._answer(
                [examples[k] for k in batch for _ in range(group_size)],
                [texts[k] for k in batch for _ in range(group_size)],
                sampling,
                np.stack(
                    [keyed_uniforms(seed_keys[k], g, sampling.max_new_tokens) for k in batch for g in range(group_size)]
                ),
            )
            for row, k in enumerate(batch):
                completions = tuple(found[row * group_size : (row + 1) * group_size])
                yield Group(example=examples[k], completions=completions, index=k, seed_key=seed_keys[k])

    def _render(self, example: Example) -> str:
        turns = with_images(as_messages(example), len(example.images), example.id)
        parts = [
            {**turn, "content": [{"type": "text", "text": turn["content"]}]}
            if isinstance(turn["content"], str)
            else turn
            for turn in turns
        ]
        text: str = self.processor.apply_chat_template(parts, add_generation_prompt=True, tokenize=False)
        return text

    @torch.inference_mode()
    def _answer(
        self, rows: Sequence[Example], texts: Sequence[str], sampling: Sampling, uniforms: Float[np.ndarray, "N T"]
    ) -> list[Completion]:
        from transformers import GenerationConfig, LogitsProcessorList

        device = self.model.device
        inputs = self._inputs(rows, texts, room=sampling.max_new_tokens).to(device)
        noise = torch.from_numpy(uniforms).to(device, cumulative_dtype(device)) if sampling.temperature > 0 else None
        drawn = Drawn(self.forbidden.to(device), sampling, noise)
        ends = [*self.end_ids, *sampling.stop_tokens]
        plan = GenerationConfig(
            max_new_tokens=sampling.max_new_tokens,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.autocast):
            self.model.generate(**inputs, generation_config=plan, logits_processor=LogitsProcessorList([drawn]))
        ids, logprobs = torch.stack(drawn.ids, dim=1).tolist(), torch.stack(drawn.logprobs, dim=1).tolist()
        return [
            self._completion(row_ids, own, example, ends)
            for row_ids, own, example in zip(ids, logprobs, rows, strict=True)
        ]

    def _inputs(self, rows: Sequence[Example], texts: Sequence[str], *, room: int) -> Any:
        """The padded batch, as the model's forward takes it."""
        images = [[open_image(image, example.id) for image in example.images] for example in rows]
        start = self.tokenizer.bos_token  # most templates write it; LLaVA's leave it to the tokenizer
        try:
            inputs = self.processor(
                text=list(texts),
                images=images if any(images) else None,
                padding=True,
                padding_side="left",
                add_special_tokens=start is None or not texts[0].startswith(start),
                return_tensors="pt",
            )
        except ValueError as error:  # such as an image token in the text
            raise DataError(f"example {rows[0].id!r} or one beside it: {error}") from error
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        for example, length in zip(rows, lengths, strict=True):
            if limit is not None and length + room > limit:
                raise DataError(
                    f"example {example.id!r}: {length} prompt tokens and {room} for the answer exceed the model's "
                    f"context of {limit}; shorten the prompt, lower max_new_tokens or the image's resolution"
                )
        return inputs

    def _completion(self, ids: list[int], logprobs: list[float], example: Example, ends: Sequence[int]) -> Completion:
        """An answer up to its end token; what was padded behind it is cut off."""
        length = next((index + 1 for index, token in enumerate(ids) if token in ends), None)
        kept = ids[:length]
        words = kept[:-1] if kept[-1] in self.end_ids else kept
        return Completion(
            text=self.tokenizer.decode(words, skip_special_tokens=False, clean_up_tokenization_spaces=False),
            token_ids=tuple(kept),
            sampled=(True,) * len(kept),
            logprobs=tuple(logprobs[:length]),
            finish_reason="length" if length is None else "stop",
            box_space=example.box_space,
        )


class Drawn:
    """A logits processor that draws each row's token itself, keeps it with its log-prob, and forbids all others."""

    def __init__(self, forbidden: Float[Tensor, "V"], sampling: Sampling, noise: Float[Tensor, "N T"] | None) -> None:
        self.forbidden = forbidden
        self.sampling = sampling
        self.noise = noise
        self.ids: list[Int[Tensor, "N"]] = []
        self.logprobs: list[Float[Tensor, "N"]] = []

    def __call__(self, input_ids: Int[Tensor, "N P"], scores: Float[Tensor, "N V"]) -> Float[Tensor, "N V"]:
        """Scores that leave nothing but the drawn token."""
        own = processed_scores(scores, self.forbidden, self.sampling)
        chosen, logprobs = draw(own, None if self.noise is None else self.noise[:, len(self.ids)])
        self.ids.append(chosen)
        self.logprobs.append(logprobs)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)


def load_processor(path: str | Path, config: Any) -> Any:
    """The processor of a vision-language model for images and text. ValueError for a family that has none here."""
    kind = processor_class(config.model_type)
    if kind is None:
        raise ValueError(
            f"{path} has the architecture {config.model_type!r}, which transformers does not know as a model that "
            "reads images and writes text; Qwen-VL, InternVL, LLaVA and Gemma 3 are among those it knows"
        )
    try:
        processor = kind.from_pretrained(path)
    except (OSError, ImportError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the processor of {config.model_type!r} cannot be loaded: {error}") from error
    if processor.chat_template is None and processor.tokenizer.chat_template is None:
        raise ValueError(f"{path} has no chat template, so that its prompts cannot be written; add chat_template.jinja")
    return processor


def image_ids(config: Any, processor: Any) -> set[int]:
    """Tokens that stand for images and may never be written."""
    names = ("image_token_id", "image_token_index", "boi_token_id", "eoi_token_id", "boi_token_index")
    found = {getattr(config, name, None) for name in (*names, "eoi_token_index")}
    found |= {getattr(processor, "image_token_id", None), *(getattr(processor, "image_token_ids", None) or ())}
    size = config.get_text_config().vocab_size
    return {token for token in found if isinstance(token, int) and 0 <= token < size}
